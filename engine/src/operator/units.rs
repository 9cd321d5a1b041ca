//! Lengths of time, amounts of memory and counts as people write them.

use std::time::Duration;

/// Longest length of time that is read: a year. Longer ones are slips of the pen.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const DURATION_UNITS: [(&str, f64); 4] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

const BYTE_UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Reads `4s`, `300ms`, `20m`, `1h`, `1.5s`; the unit is needed. At most a year.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, seconds) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    let duration = Duration::try_from_secs_f64(number * seconds).ok()?;
    (duration <= LONGEST).then_some(duration)
}

/// Reads `512MB`, `4GiB`, `1.5GB`, `1000`; a bare number is bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    if let Ok(bytes) = text.parse() {
        return Some(bytes);
    }
    let (number, unit) = split(text)?;
    let (_, factor) = BYTE_UNITS.iter().find(|(name, _)| *name == unit)?;
    let bytes = number * *factor as f64;
    (bytes < u64::MAX as f64).then_some(bytes.round() as u64)
}

/// How a length of time would be written that only has another name of its unit: `2s` for `2sec`.
pub(crate) fn meant_duration(text: &str) -> Option<String> {
    let (_, unit) = split(text)?;
    let right = match unit.to_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        _ => return None,
    };
    let meant = with_unit(text, unit, right);
    parse_duration(&meant).map(|_| meant)
}

/// How an amount of memory would be written that only has its unit in other letters: `10GB` for `10gb` or `10G`.
pub(crate) fn meant_bytes(text: &str) -> Option<String> {
    let (_, unit) = split(text)?;
    let is_meant = |name: &str| {
        name.eq_ignore_ascii_case(unit)
            || name
                .strip_suffix('B')
                .is_some_and(|prefix| !prefix.is_empty() && prefix.eq_ignore_ascii_case(unit))
    };
    let (right, _) = BYTE_UNITS.iter().find(|(name, _)| is_meant(name))?;
    let meant = with_unit(text, unit, right);
    parse_bytes(&meant).map(|_| meant)
}

/// The number of a text, with another unit right behind it.
fn with_unit(text: &str, unit: &str, right: &str) -> String {
    let number = text.strip_suffix(unit).unwrap_or(text).trim_end();
    format!("{number}{right}")
}

/// Splits `1.5s` into a plain decimal number and what follows it.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

/// Writes a length of time as [`parse_duration`] reads it, exactly down to the millisecond.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".to_string(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ if ms < 1000 => format!("{ms}ms"),
        _ => format!("{}s", ms as f64 / 1000.0),
    }
}

/// Writes an amount of memory for people: exactly if it is a round number of a unit, else to one decimal.
pub fn format_bytes(bytes: u64) -> String {
    let round = BYTE_UNITS
        .iter()
        .filter(|(name, factor)| *name != "kB" && bytes >= *factor && bytes.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor);
    if let Some((unit, factor)) = round
        && bytes / factor < 10_000
    {
        return format!("{} {unit}", bytes / factor);
    }
    let binary = &BYTE_UNITS[..4];
    match binary.iter().rev().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes} B"),
    }
}

/// `1 stage`, `2 stages`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    let plural = match thing.ends_with('s') {
        _ if count == 1 => "",
        true => "es",
        false => "s",
    };
    format!("{count} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("4s"), Some(Duration::from_secs(4)));
        assert_eq!(parse_duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("20m"), Some(Duration::from_secs(1200)));
        assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3600)));
        for wrong in [
            "", "4", "s", "-1s", "1e9s", "4 sec", "9999999h", ".s", "1..5s", "NaNs",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_take_both_kinds_of_prefix() {
        assert_eq!(parse_bytes("512MB"), Some(512_000_000));
        assert_eq!(parse_bytes("4GiB"), Some(4 << 30));
        assert_eq!(parse_bytes("1000"), Some(1000));
        assert_eq!(parse_bytes("1.5 GB"), Some(1_500_000_000));
        for wrong in [
            "",
            "MB",
            "-1",
            "4gb",
            "1e3",
            "99999999999TB",
            "18446744073709551616",
        ] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_names_of_units_are_understood_as_what_they_mean() {
        let duration = |text: &str| meant_duration(text).unwrap_or_default();
        assert_eq!(duration("2sec"), "2s");
        assert_eq!(duration("1.5 Hours"), "1.5h");
        assert_eq!(duration("20 min"), "20m");
        assert_eq!(duration("5 days"), "");
        assert_eq!(duration("9999999hours"), "", "longer than any");
        let bytes = |text: &str| meant_bytes(text).unwrap_or_default();
        assert_eq!(bytes("10gb"), "10GB");
        assert_eq!(bytes("4 gib"), "4GiB");
        assert_eq!(bytes("512m"), "512MB");
        assert_eq!(bytes("64kb"), "64KB");
        assert_eq!(bytes("10 stone"), "");
    }

    #[test]
    fn what_is_written_reads_back() {
        for ms in [0, 1, 300, 1500, 1000, 90_000, 1_200_000, 3_600_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
        for bytes in [0, 1, 1000, 1024, 512_000_000, 4 << 30] {
            assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes));
        }
        assert_eq!(format_bytes(1_234_567_891), "1.1 GiB");
    }
}
