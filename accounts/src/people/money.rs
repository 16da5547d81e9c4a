//! Money: an exact decimal that is a number on the wire.

use std::fmt;

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::field::Wrong;

const DIGITS_MAX: u32 = 18;
const DECIMALS_MAX: u32 = 6;
/// Bytes of a number's text; more are never needed.
const TEXT_BYTES_MAX: usize = 64;

/// An amount of 0 or more, of at most 18 digits, 6 of them decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(Decimal);

impl Money {
    /// Reads a JSON number.
    pub(crate) fn read(value: &RawValue) -> Result<Self, Wrong> {
        let text = value.get();
        if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Err(Wrong::new("decimal_type", "Input should be a number"));
        }
        let amount = decimal(text)?.normalize();
        if amount.is_sign_negative() && !amount.is_zero() {
            let msg = "Input should be greater than or equal to 0";
            return Err(Wrong::new("greater_than_equal", msg));
        }
        if amount.scale() > DECIMALS_MAX {
            let msg =
                format!("Decimal input should have no more than {DECIMALS_MAX} decimal places");
            return Err(Wrong::new("decimal_max_places", msg));
        }
        if amount.mantissa().unsigned_abs() >= 10_u128.pow(DIGITS_MAX) {
            return Err(too_many_digits());
        }
        Ok(Self(amount.abs()))
    }
}

fn decimal(text: &str) -> Result<Decimal, Wrong> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(too_many_digits());
    }
    let amount = match text.split_once(['e', 'E']) {
        // What is before the exponent would be rounded.
        Some((base, _)) => {
            Decimal::from_str_exact(base).and_then(|_| Decimal::from_scientific(text))
        }
        None => Decimal::from_str_exact(text),
    };
    amount.map_err(|_| too_many_digits())
}

fn too_many_digits() -> Wrong {
    let msg = format!("Decimal input should have no more than {DIGITS_MAX} digits in total");
    Wrong::new("decimal_max_digits", msg)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Box::<RawValue>::deserialize(deserializer)?;
        Self::read(&value).map_err(|wrong| D::Error::custom(wrong.msg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Money, &'static str> {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        Money::read(&raw).map_err(|wrong| wrong.kind)
    }

    #[test]
    fn an_amount_is_exact_and_a_number_on_the_wire() {
        for (text, wire) in [
            ("123", "123"),
            ("0.5", "0.5"),
            ("0.50", "0.5"),
            ("0.300000", "0.3"),
            ("1.0000000000", "1"),
            ("-0", "0"),
            ("0.000001", "0.000001"),
            ("1e3", "1000"),
            ("1.5E-1", "0.15"),
            ("999999999999999999", "999999999999999999"),
            ("999999999999.999999", "999999999999.999999"),
        ] {
            let money = read(text).unwrap();
            let json = serde_json::to_string(&money).unwrap();
            assert_eq!(json, wire);
            assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        for (text, kind) in [
            ("-0.01", "greater_than_equal"),
            ("-1e3", "greater_than_equal"),
            ("1000000000000000000", "decimal_max_digits"),
            ("9999999999999.999999", "decimal_max_digits"),
            ("1e18", "decimal_max_digits"),
            ("1e999999999", "decimal_max_digits"),
            ("1e99999999999999999999", "decimal_max_digits"),
            ("0.1234567", "decimal_max_places"),
            ("1e-7", "decimal_max_places"),
            ("0.30000000000000004", "decimal_max_places"),
            ("0.00000000000000000000000000015e28", "decimal_max_digits"),
            ("\"12\"", "decimal_type"),
            ("\"NaN\"", "decimal_type"),
            ("true", "decimal_type"),
            ("{}", "decimal_type"),
        ] {
            assert_eq!(read(text), Err(kind), "{text}");
        }
        assert!(read(&format!("1{}", "0".repeat(100_000))).is_err());
    }
}
