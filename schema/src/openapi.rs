//! The description of the HTTP APIs, as it is served. Written in `openapi.yaml`.

/// OpenAPI 3.1, as JSON.
pub const JSON: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use crate::error::ErrorCode;
    use crate::{Outcome, limits};

    fn document() -> Value {
        serde_json::from_str(JSON).unwrap()
    }

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
    }

    #[test]
    fn the_list_of_error_codes_is_that_of_the_code() {
        let document = document();
        let codes = &document["components"]["schemas"]["ErrorCode"];
        // serde names all variants when it knows none of that name.
        let refusal = serde_json::from_str::<ErrorCode>("\"\"").unwrap_err().to_string();
        let known: Vec<&str> = refusal.split('`').skip(1).step_by(2).skip(1).collect();
        assert_eq!(names(&codes["enum"]), known);
        for code in known {
            let row = format!("| `{code}` | ");
            assert!(codes["description"].as_str().unwrap().contains(&row), "{code} is explained");
        }
    }

    #[test]
    fn the_list_of_outcomes_is_that_of_the_code() {
        let document = document();
        let outcomes = &document["components"]["schemas"]["Outcomes"];
        let known = Outcome::ALL.map(Outcome::name);
        assert_eq!(names(&outcomes["propertyNames"]["enum"]), known);
        for outcome in known {
            let row = format!("| `{outcome}` | ");
            assert!(outcomes["description"].as_str().unwrap().contains(&row), "{outcome}");
        }
    }

    /// Every operation: its method and path, and what is said of it.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let methods = ["get", "post", "put", "patch", "delete"];
        let paths = document["paths"].as_object().unwrap();
        let found = paths.iter().flat_map(|(path, of_path)| {
            let named = |method: &&str| Some((format!("{method} {path}"), of_path.get(*method)?));
            methods.iter().filter_map(named).collect::<Vec<_>>()
        });
        found.collect()
    }

    /// What a reference leads to, or the value itself.
    fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let pointer = reference.strip_prefix('#').unwrap();
        document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    fn each(value: &Value, visit: &mut impl FnMut(&Value)) {
        visit(value);
        match value {
            Value::Object(members) => members.values().for_each(|member| each(member, visit)),
            Value::Array(elements) => elements.iter().for_each(|element| each(element, visit)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_part_is_referred_to() {
        let document = document();
        let mut references = HashSet::new();
        each(&document, &mut |value| {
            resolved(&document, value);
            references.extend(value["$ref"].as_str().map(str::to_owned));
        });
        for (kind, parts) in document["components"].as_object().unwrap() {
            if kind == "securitySchemes" {
                continue;
            }
            for name in parts.as_object().unwrap().keys() {
                assert!(references.contains(&format!("#/components/{kind}/{name}")), "{name}");
            }
        }
    }

    #[test]
    fn every_call_belongs_to_one_api_and_has_a_name_of_its_own() {
        let document = document();
        let tags = document["tags"].as_array().unwrap();
        let tags: Vec<_> = tags.iter().map(|tag| tag["name"].as_str().unwrap()).collect();
        assert_eq!(tags, ["Ingestion", "Accounts", "Back office", "Admin"]);
        let mut ids = HashSet::new();
        for (call, operation) in operations(&document) {
            let [tag] = names(&operation["tags"])[..] else { panic!("{call} has not one tag") };
            assert!(tags.contains(&tag), "{call}: {tag}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{call}");
            for scheme in operation["security"].as_array().into_iter().flatten() {
                for name in scheme.as_object().unwrap().keys() {
                    assert!(
                        document["components"]["securitySchemes"].get(name).is_some(),
                        "{call}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_error_has_the_shape_of_its_api() {
        let document = document();
        let readiness = "#/components/schemas/Readiness";
        for (call, operation) in operations(&document) {
            let member = match operation["tags"][0].as_str() {
                Some("Accounts") => "detail",
                Some("Back office") => "error",
                _ => "code",
            };
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = resolved(&document, response);
                let schema = &response["content"]["application/json"]["schema"];
                if status.as_str() < "400" || schema["$ref"] == readiness {
                    continue;
                }
                let members = names(&resolved(&document, schema)["required"]);
                assert!(members.contains(&member), "{call} {status}");
                let is_later = ["429", "503"].contains(&status.as_str());
                assert!(!is_later || response["headers"].get("Retry-After").is_some(), "{call}");
            }
        }
    }

    #[test]
    fn the_limits_are_those_of_the_code() {
        let document = document();
        let limit = |path: &str| document.pointer(path).and_then(Value::as_u64);
        let expect = |path: &str, number: usize| {
            assert_eq!(limit(path), Some(number as u64), "{path}");
        };
        for (call, list) in [
            ("profile~1user", "profiles"),
            ("events", "events"),
            ("profile~1user~1device~1bulk", "devices"),
        ] {
            expect(
                &format!(
                    "/paths/~1v1~1api~1{call}/post/requestBody/content/application~1json/schema/\
                     properties/{list}/maxItems"
                ),
                limits::ITEMS_PER_CALL,
            );
        }
        expect(
            "/paths/~1v1~1api~1profile~1user~1deletion-job~1bulk/post/requestBody/content/\
             application~1json/schema/properties/user_ids/maxItems",
            limits::USER_IDS_PER_CALL,
        );
        let schemas = "/components/schemas";
        expect(&format!("{schemas}/UserId/maxLength"), limits::USER_ID_BYTES);
        expect(&format!("{schemas}/EventItem/properties/id/maxLength"), limits::ID_BYTES);
        expect(&format!("{schemas}/EventItem/properties/name/maxLength"), limits::NAME_BYTES);
        let device = format!("{schemas}/DeviceItem/properties");
        expect(&format!("{device}/user_id/maxLength"), limits::USER_ID_BYTES);
        expect(&format!("{device}/device_id/maxLength"), limits::DEVICE_ID_BYTES);
        expect(&format!("{device}/platform/maxLength"), limits::PLATFORM_CHARS);
        expect(&format!("{schemas}/Error/properties/errors/maxItems"), limits::ERRORS_LISTED);
        let ad_log_bytes = limits::USER_ID_BYTES - limits::RESERVED_USER_ID_PREFIX.len();
        expect(&format!("{schemas}/AdLog/properties/ad_log/maxLength"), ad_log_bytes);
        let parameters = "/components/parameters";
        expect(&format!("{parameters}/ProjectId/schema/maxLength"), limits::PROJECT_ID_BYTES);
        let request_id = "/components/headers/RequestId/schema/maxLength";
        expect(request_id, limits::REQUEST_ID_BYTES);
        expect(
            &format!("{parameters}/IdempotencyKey/schema/maxLength"),
            limits::IDEMPOTENCY_KEY_BYTES,
        );
    }
}
