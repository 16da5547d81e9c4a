//! Forms and queries: `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode_str;

use crate::field::{FieldError, Wrong};
use crate::password::Password;

/// A login by form. Other members (`grant_type`, `scope`, …) are ignored.
#[derive(Debug)]
pub(super) struct LoginForm {
    pub(super) username: String,
    pub(super) password: Password,
}

impl LoginForm {
    /// The last of a repeated member counts; an empty one counts as absent.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let (mut username, mut password) = (None, None);
        for member in String::from_utf8_lossy(body).split('&') {
            let (name, value) = member.split_once('=').unwrap_or((member, ""));
            match &*decode(name) {
                "username" => username = Some(decode(value)),
                "password" => password = Some(decode(value)),
                _ => {}
            }
        }
        let username = username.filter(|text| !text.is_empty());
        let password = password.filter(|text| !text.is_empty());
        match (username, password) {
            (Some(username), Some(password)) => {
                Ok(Self { username, password: Password::new(password) })
            }
            (username, password) => Err([("username", username), ("password", password)]
                .into_iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| FieldError::new("body", name, Wrong::missing()))
                .collect()),
        }
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded() {
        let form = LoginForm::parse(
            b"grant_type=password&username=a%2Bb%40c.co&password=p%26+%3D%EA%B0%80&scope=",
        )
        .unwrap();
        assert_eq!(form.username, "a+b@c.co");
        assert_eq!(form.password.expose(), "p& =가");
    }

    #[test]
    fn each_missing_member_is_named() {
        let names = |body: &[u8]| {
            let errors = LoginForm::parse(body).unwrap_err();
            errors.iter().map(|error| format!("{:?}", error.loc[1])).collect::<String>()
        };
        assert!(names(b"").contains("username") && names(b"").contains("password"));
        assert!(!names(b"username=a&password=").contains("username"));
        assert!(names(b"\xff&&=&%zz").contains("username"));
    }
}
