//! The words of mails, in Korean and English.

/// What a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To set a new password.
    Reset,
    /// To show that the address is read.
    Verify,
}

/// A subject and a text.
pub(super) struct Words {
    pub(super) subject: &'static str,
    pub(super) text: String,
}

/// The words in a language: `ko`, `en` and its variants (`en-US`); English for all others.
pub(super) fn words(purpose: Purpose, language: &str, link: &str) -> Words {
    let is_korean = language.split(['-', '_']).next().is_some_and(|l| l.eq_ignore_ascii_case("ko"));
    match (purpose, is_korean) {
        (Purpose::Reset, true) => Words {
            subject: "비밀번호 재설정",
            text: format!(
                "안녕하세요.\n\n비밀번호 재설정 요청을 받았습니다. 아래 링크에서 한 시간 안에 새 \
                 비밀번호를 설정해 주세요.\n\n{link}\n\n요청하신 적이 없다면 이 메일을 무시하셔도 \
                 됩니다. 비밀번호는 바뀌지 않습니다.\n"
            ),
        },
        (Purpose::Reset, false) => Words {
            subject: "Reset your password",
            text: format!(
                "Hello,\n\nsomeone asked to reset the password of your account. To set a new one, \
                 open this link within an hour:\n\n{link}\n\nIf it was not you, ignore this mail: \
                 your password stays as it is.\n"
            ),
        },
        (Purpose::Verify, true) => Words {
            subject: "이메일 주소 확인",
            text: format!(
                "안녕하세요.\n\n이메일 주소를 확인하려면 한 시간 안에 아래 링크를 열어 \
                 주세요.\n\n{link}\n\n요청하신 적이 없다면 이 메일을 무시하셔도 됩니다.\n"
            ),
        },
        (Purpose::Verify, false) => Words {
            subject: "Verify your e-mail address",
            text: format!(
                "Hello,\n\nto verify your e-mail address, open this link within an \
                 hour:\n\n{link}\n\nIf you did not ask for it, ignore this mail.\n"
            ),
        },
    }
}
