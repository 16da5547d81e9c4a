//! What must not be printed whole: passwords, secrets, keys and tokens.

use serde_json::Value;

use crate::client::percent_encode;

/// The members of answers that are tokens.
const TOKENS: [&str; 4] = ["access_token", "accessToken", "sessionToken", "refreshToken"];
/// How much of a token is shown: of a JWT, a part of its header.
const TOKEN_CHARS_SHOWN: usize = 10;

/// What is hidden, and what is shown instead; the longest first, so that none hides a part only.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Hides a password or secret wholly, as it is and as it stands in a form.
    pub(super) fn hide(&mut self, secret: &str) {
        self.add(secret, "…");
        self.add(&percent_encode(secret), "…");
    }

    /// Hides most of a token.
    pub(super) fn hide_token(&mut self, token: &str) {
        let shown: String = token.chars().take(TOKEN_CHARS_SHOWN).collect();
        self.add(token, &format!("{shown}…"));
    }

    /// Hides the tokens of an answer.
    pub(super) fn hide_tokens_of(&mut self, answer: &Value) {
        match answer {
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str().filter(|_| TOKENS.contains(&name.as_str())) {
                        Some(token) => self.hide_token(token),
                        None => self.hide_tokens_of(value),
                    }
                }
            }
            Value::Array(elements) => elements.iter().for_each(|value| self.hide_tokens_of(value)),
            _ => {}
        }
    }

    fn add(&mut self, secret: &str, shown: &str) {
        if !secret.is_empty() {
            self.0.push((secret.to_owned(), shown.to_owned()));
            self.0.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        }
    }

    /// A text without them.
    pub(super) fn hidden(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (secret, shown)| text.replace(secret, shown))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_secret_is_left_of_a_text() {
        let mut secrets = Secrets::default();
        secrets.hide("pass word");
        secrets.hide_tokens_of(&json!({"data": {"accessToken": "abcdefghijkl", "expiresIn": "1"}}));
        let text = "password=pass%20word 'pass word' Bearer abcdefghijkl";
        assert_eq!(secrets.hidden(text), "password=… '…' Bearer abcdefghij…");
    }
}
