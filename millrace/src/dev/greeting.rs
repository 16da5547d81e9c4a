//! What `millrace dev` says when it is ready.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use super::demo::Demo;
use crate::http::url;

/// Where the server is, and who may call it.
pub(super) struct Greeting {
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) demo: Demo,
    pub(super) data: PathBuf,
}

impl Greeting {
    /// One line for a machine.
    pub(super) fn to_json(&self) -> String {
        let line = json!({
            "url": url(self.listen),
            "admin_url": url(self.admin_listen),
            "project_id": self.demo.project_id,
            "api_key": self.demo.api_key,
        });
        format!("{line}\n")
    }

    /// For people: where everything is, and a line to paste for each call.
    pub(super) fn to_text(&self) -> String {
        let (url, admin_url) = (url(self.listen), url(self.admin_listen));
        let Demo { project_id, api_key } = &self.demo;
        let data = self.data.display();
        let mut out = format!(
            "Millrace is ready.\n\n\
             API      {url}\n\
             Admin    {admin_url}/metrics  {admin_url}/ledger\n\
             Data     {data}\n\
             Project  {project_id}\n\
             Key      {api_key}\n\n\
             Who signs in at {url}/auth/jwt/login is made by\n  \
             millrace --data {data} user create --email EMAIL --name NAME --role admin --admin \
             --password-stdin < FILE\n\n\
             Paste these into another terminal, one after another:\n"
        );
        for (what, path, body) in CALLS {
            // An answer without a line end would run into the next prompt.
            let data = body.map_or(" -w \"\\n\"".to_owned(), |body| format!(" -d '{body}'"));
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                "\n# {what}\ncurl -i '{url}{path}?project_id={project_id}' \
                 -H 'Authorization: Bearer {api_key}'{data}\n"
            );
        }
        out.push_str("\nCtrl-C stops it; the data stays.\n");
        out
    }
}

/// What each call does, its path, and its body if it sends one. The users that the deletions name
/// are not the one that is read back.
const CALLS: [(&str, &str, Option<&str>); 7] = [
    (
        "update profiles",
        "/v1/api/profile/user",
        Some(
            r#"{"profiles":[{"user_id":"mina","properties":{"mkt_name":"Mina Park","mkt_email":"mina@example.com","mkt_grade":"gold","mkt_email_opt_in":true}},{"user_id":"joon","properties":{"mkt_name":"Joon Lee"}},{"user_id":"sora","properties":{"mkt_name":"Sora Kim"}}]}"#,
        ),
    ),
    (
        "collect events",
        "/v1/api/events",
        Some(
            r#"{"events":[{"id":"order-1001","name":"mkt_purchase","user_id":"mina","properties":{"mkt_order_id":"1001","mkt_revenue":39000,"mkt_items":[{"mkt_product_id":"P-7","mkt_product_name":"Rain jacket","mkt_product_price":39000,"mkt_quantity":1}]}}]}"#,
        ),
    ),
    (
        "update devices",
        "/v1/api/profile/user/device/bulk",
        Some(
            r#"{"devices":[{"user_id":"mina","device_id":"gaid:38400000-8cf0-11bd-b23e-10b96e40000d","platform":"android","token":"push-token-1","properties":{"os":"Android","os_version":"16","model":"Pixel 10","opt_in":true}}]}"#,
        ),
    ),
    ("delete one user", "/v1/api/profile/user/deletion-job", Some(r#"{"user_id":"joon"}"#)),
    (
        "delete many users",
        "/v1/api/profile/user/deletion-job/bulk",
        Some(r#"{"user_ids":["sora","nobody"]}"#),
    ),
    ("read a profile back", "/v1/api/users/mina", None),
    ("read the events back", "/v1/api/users/mina/events", None),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Greeting {
        let demo = Demo { project_id: "demo".to_owned(), api_key: "the-key".to_owned() };
        Greeting {
            listen: "0.0.0.0:8080".parse().unwrap(),
            admin_listen: "[::]:9090".parse().unwrap(),
            demo,
            data: PathBuf::from("./millrace-data"),
        }
    }

    #[test]
    fn the_machines_line_is_one_line_with_four_members() {
        let text = greeting().to_json();
        assert_eq!(text.matches('\n').count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "url": "http://127.0.0.1:8080",
            "admin_url": "http://[::1]:9090",
            "project_id": "demo",
            "api_key": "the-key",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn people_are_told_how_to_make_the_first_admin() {
        let text = greeting().to_text();
        let command = "  millrace --data ./millrace-data user create --email EMAIL --name NAME \
                       --role admin --admin --password-stdin < FILE\n";
        assert!(text.contains(command), "{text}");
    }

    #[test]
    fn each_call_is_one_line_that_a_shell_takes() {
        let text = greeting().to_text();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("curl ")).collect();
        assert_eq!(lines.len(), CALLS.len());
        for (line, (_, path, body)) in lines.iter().zip(CALLS) {
            assert!(line.contains(&format!("http://127.0.0.1:8080{path}?project_id=demo")));
            assert_eq!(line.matches('\'').count() % 2, 0, "{line}");
            if let Some(body) = body {
                assert!(!body.contains('\''));
                serde_json::from_str::<serde_json::Value>(body).unwrap();
            }
        }
    }
}
