//! The description of the HTTP API, as it is served. Written in `openapi.yaml`.

/// OpenAPI 3.1, as JSON.
pub const JSON: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

#[cfg(test)]
mod tests {
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
        let parameters = "/components/parameters";
        expect(&format!("{parameters}/ProjectId/schema/maxLength"), limits::PROJECT_ID_BYTES);
        expect(&format!("{parameters}/RequestId/schema/maxLength"), limits::REQUEST_ID_BYTES);
        expect(
            &format!("{parameters}/IdempotencyKey/schema/maxLength"),
            limits::IDEMPOTENCY_KEY_BYTES,
        );
    }
}
