//! Kubernetes quantities (`500m`, `1Gi`, `2e3`) in thousandths. Only reading; what is asked for in them is other modules' business.

use serde_json::Value;

/// A quantity in thousandths, rounded up; `None` if it is no quantity.
pub fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'));
    let (number, suffix) = text.split_at_checked(end.unwrap_or(text.len()))?;
    let (top, bottom) = scale(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More digits than any quantity needs would only overflow.
    if fraction.len() > 18 || whole.len() > 20 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(bottom)?;
    let thousandths = digits.checked_mul(top)?;
    Some(thousandths.div_euclid(divisor) + i128::from(thousandths.rem_euclid(divisor) != 0))
}

/// The same of a value as manifests have it: a text, or a plain number.
pub fn quantity_of(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => quantity(text),
        other => quantity(&other.to_string()),
    }
}

/// A quantity in whole units, rounded up, as Go's `Quantity.Value()` has it.
pub fn whole(value: &Value) -> Option<i128> {
    let thousandths = quantity_of(value)?;
    Some(thousandths.div_euclid(1_000) + i128::from(thousandths.rem_euclid(1_000) != 0))
}

/// A suffix as a fraction of thousandths.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "" => (1_000, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1_000 << 10, 1),
        "Mi" => (1_000 << 20, 1),
        "Gi" => (1_000 << 30, 1),
        "Ti" => (1_000 << 40, 1),
        "Pi" => (1_000 << 50, 1),
        "Ei" => (1_000 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1_000, size) } else { (size.checked_mul(1_000)?, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{quantity, whole};

    #[test]
    fn whole_units_are_rounded_up() {
        let cases = [
            (json!("8000m"), 8),
            (json!("8e0"), 8),
            (json!(8), 8),
            (json!(8.0), 8),
            (json!("7001m"), 8),
            (json!("0"), 0),
            (json!("1n"), 1),
        ];
        for (value, units) in cases {
            assert_eq!(whole(&value), Some(units), "{value}");
        }
        for value in [json!("x"), json!(null), json!([]), json!({}), json!(true)] {
            assert_eq!(whole(&value), None, "{value}");
        }
    }

    #[test]
    fn reads_what_kubernetes_writes() {
        let cases = [
            ("1", 1_000),
            ("500m", 500),
            ("1.5", 1_500),
            ("0.1", 100),
            (".5", 500),
            ("1Gi", 1_000 << 30),
            ("1.5Gi", 1_500 << 30),
            ("128974848", 128_974_848_000),
            ("129e6", 129_000_000_000),
            ("12E-1", 1_200),
            ("12e0", 12_000),
            ("1500n", 1),
            ("2k", 2_000_000),
            ("2500u", 3),
            ("-1500u", -1),
            ("1M", 1_000_000_000),
            ("1G", 1_000_000_000_000),
            ("1T", 1_000_000_000_000_000),
            ("1P", 1_000_000_000_000_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1Ki", 1_000 << 10),
            ("1Mi", 1_000 << 20),
            ("1Ti", 1_000 << 40),
            ("1Pi", 1_000 << 50),
            ("1Ei", 1_000 << 60),
            ("1.000000000000000001", 1_001),
            ("10000000000000000000", 10_000_000_000_000_000_000_000),
        ];
        for (text, thousandths) in cases {
            assert_eq!(quantity(text), Some(thousandths), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_without_panic() {
        for text in [
            "",
            "x",
            "1x",
            "Gi",
            "1..2",
            "--1",
            ".",
            "1.0000000000000000001",
            "1.00000000000000000001",
            "100000000000000000000",
            "1000000000000000000000",
            "1e999999999999",
            "é1",
            "1é",
            "999999999999999999999999999999Ei",
        ] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }
}
