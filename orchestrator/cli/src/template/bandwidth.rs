//! A rate of reading, as people write it, and how long a model takes to start at that rate.

use std::time::Duration;

/// What a node reads from the storage in a second where nobody says: 500 MB. Cautious for network storage; not
/// measured.
pub(super) const DEFAULT: u64 = 500_000_000;

/// What an engine may take beside reading, to compile, to capture graphs and to warm up. A bound, not a measured time.
const BESIDE: Duration = Duration::from_mins(15);

const UNITS: [(&str, u64); 6] = [
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Bytes in a second: `500MB`, `1.5GB/s`, `800MiB`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || "write it as 500MB or 1.5GB (in a second)".to_owned();
    let text = text.strip_suffix("/s").unwrap_or(text);
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), *bytes)))
        .ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 3 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let thousandths: u64 = format!("{whole}{part:0<3}").parse().map_err(|_| wrong())?;
    match thousandths.saturating_mul(unit) / 1000 {
        0 => Err("must be above 0".to_owned()),
        bytes => Ok(bytes),
    }
}

/// As text: `500 MB/s`.
pub(super) fn text(bytes: u64) -> String {
    let of = |unit: u64, name: &str| {
        let tenths = bytes / (unit / 10);
        let tail = if tenths.is_multiple_of(10) { String::new() } else { format!(".{}", tenths % 10) };
        format!("{}{tail} {name}/s", tenths / 10)
    };
    match bytes {
        1_000_000_000.. => of(1_000_000_000, "GB"),
        1_000_000.. => of(1_000_000, "MB"),
        _ => of(1_000, "KB"),
    }
}

/// How long reading so many bytes takes, in whole minutes, and the longest start that is no failure: [`BESIDE`]
/// more, in whole five minutes. As if every node read all of it.
pub(super) fn start(bytes: u64, in_a_second: u64) -> (Duration, Duration) {
    let reading = bytes.div_ceil(in_a_second.max(1)).div_ceil(60);
    let all = reading.saturating_add(BESIDE.as_secs() / 60).div_ceil(5).saturating_mul(5);
    let minutes = |count: u64| Duration::from_secs(count.saturating_mul(60));
    (minutes(reading), minutes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_number_and_a_unit() {
        for (written, bytes) in [
            ("500MB", 500_000_000),
            ("500 MB/s", 500_000_000),
            ("1.5GB/s", 1_500_000_000),
            ("800MiB", 838_860_800),
            ("0.001KB", 1),
        ] {
            assert_eq!(parse(written), Ok(bytes), "{written}");
        }
        for written in ["", "500", "MB", "0MB", "-1GB", "1e9MB", "1.2345GB", "99999999GB", "500mb", "1.GB.GB"]
        {
            assert!(parse(written).is_err(), "{written}");
        }
        assert_eq!(
            [500_000_000, 1_500_000_000, 838_860_800, 1].map(text),
            ["500 MB/s", "1.5 GB/s", "838.8 MB/s", "0 KB/s"]
        );
    }

    #[test]
    fn a_start_is_reading_and_a_quarter_of_an_hour_in_whole_five_minutes() {
        let minutes = |bytes, rate| {
            let (reading, all) = start(bytes, rate);
            (reading.as_secs() / 60, all.as_secs() / 60)
        };
        assert_eq!(minutes(811_706_580_992, DEFAULT), (28, 45));
        assert_eq!(minutes(60_000_000_000, DEFAULT), (2, 20));
        assert_eq!(minutes(1, u64::MAX), (1, 20));
        assert!(minutes(u64::MAX, 1).1 > 1 << 58);
    }
}
