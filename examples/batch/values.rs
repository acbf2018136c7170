//! Reading the values of flags. What is wrong with one says what to give instead.

use std::time::Duration;

pub(crate) fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("give at least 1, or leave it out".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("give a whole number such as 500".to_owned()),
    }
}

pub(crate) fn up_to_ten_million(text: &str) -> Result<usize, String> {
    number(text, 10_000_000).map(|number| number as usize)
}

/// A whole number, at most `most`.
pub(crate) fn number(text: &str, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("give a whole number up to {most}"))
}

pub(crate) fn up_to_a_million(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("give a whole number from 1 to 1000000".to_owned()),
    }
}

/// A positive number of seconds, at most a year.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "give a number of seconds such as 1.5".to_owned())?;
    if !(0.001..=366.0 * 24.0 * 3_600.0).contains(&seconds) {
        return Err("give a number of seconds from 0.001 to a year's".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// The same, or none.
pub(crate) fn seconds_or_none(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0.0) => Ok(Duration::ZERO),
        _ => seconds(text),
    }
}

/// Two shares in per cent, such as `30-100`.
pub(crate) fn shares(text: &str) -> Result<(u64, u64), String> {
    let share = |text: &str| text.parse().ok().filter(|share| *share <= 100);
    let both = text.split_once('-');
    let both = both.and_then(|(from, to)| Some((share(from)?, share(to)?)));
    both.filter(|(from, to)| from <= to)
        .ok_or_else(|| "give two shares in per cent such as 30-100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_seconds_are_a_number_only_where_they_mean_at_once() {
        for text in ["0", "0.0", "-0"] {
            assert_eq!(seconds_or_none(text), Ok(Duration::ZERO));
            assert!(seconds(text).is_err());
        }
        assert_eq!(seconds_or_none("1.5"), Ok(Duration::from_millis(1_500)));
        for text in ["", "-1", "NaN", "inf", "1e99", "0.0001"] {
            assert!(seconds_or_none(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_two_numbers_up_to_a_hundred_in_order() {
        assert_eq!(shares("0-0"), Ok((0, 0)));
        assert_eq!(shares("30-100"), Ok((30, 100)));
        for text in [
            "", "-", "30", "30-", "-30", "30-101", "31-30", "1-2-3", "a-b",
        ] {
            assert!(shares(text).is_err(), "{text}");
        }
    }
}
