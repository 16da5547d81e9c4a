//! A password that comes on stdin.

use std::io::{IsTerminal, Read, stdin};

use anyhow::{Context, Result, anyhow, ensure};

use crate::cli::Password;

/// Bytes read: any password is shorter.
const BYTES_MAX: u64 = 16 * 1024;

/// Reads one line, without its end.
///
/// # Errors
/// There is none, there are more, or stdin is a terminal, which would show what is typed.
pub(crate) fn read() -> Result<Password> {
    let stdin = stdin().lock();
    ensure!(
        !stdin.is_terminal(),
        "--password-stdin reads from a pipe or a file, and stdin is a terminal, which would show \
         the password; send it as in `millrace user … --password-stdin < password.txt`"
    );
    line(stdin)
}

fn line(from: impl Read) -> Result<Password> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "read under a cap")]
    from.take(BYTES_MAX).read_to_end(&mut bytes).context("the password on stdin")?;
    // Its error would hold the bytes.
    let text =
        String::from_utf8(bytes).map_err(|_| anyhow!("the password on stdin is no UTF-8"))?;
    let mut lines = text.lines();
    let password = lines.next().unwrap_or_default();
    ensure!(!password.is_empty(), "there is no password on stdin; send it as one line");
    ensure!(lines.next().is_none(), "there is more than one line on stdin; send the password only");
    Ok(Password(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_without_its_end() {
        for text in ["hush hush", "hush hush\n", "hush hush\r\n"] {
            assert_eq!(line(text.as_bytes()).unwrap().0, "hush hush");
        }
        let refused = |bytes: &[u8]| format!("{:#}", line(bytes).unwrap_err());
        assert!(refused(b"").contains("no password on stdin"));
        assert!(refused(b"\nhush").contains("no password on stdin"));
        assert!(refused(b"hush\nhush").contains("more than one line"));
        assert!(refused(b"hush\n\n").contains("more than one line"));
        assert!(!refused(b"hush\xff").contains("hush"));
    }
}
