//! The Date field: seconds in, twenty-nine bytes out. The clock belongs to the caller, who asks once a second.

/// Length of `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const DATE_BYTES: usize = 29;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Formats seconds since 1970 as IMF-fixdate, RFC 9110 section 5.6.7. Years beyond 9999 stay at its last second.
pub fn format(unix_seconds: u64) -> [u8; DATE_BYTES] {
    const LAST_SECOND_OF_9999: u64 = 253_402_300_799;
    let unix_seconds = unix_seconds.min(LAST_SECOND_OF_9999);
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil(days);

    let mut out = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    out[0..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    out[5..7].copy_from_slice(&two_digits(day));
    out[8..11].copy_from_slice(MONTHS[month as usize]);
    out[12..14].copy_from_slice(&two_digits(year / 100));
    out[14..16].copy_from_slice(&two_digits(year % 100));
    out[17..19].copy_from_slice(&two_digits(second / 3_600));
    out[20..22].copy_from_slice(&two_digits(second / 60 % 60));
    out[23..25].copy_from_slice(&two_digits(second % 60));
    out
}

/// Year, month from zero, day from one. Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day
/// is the last of its year; 400 years have 146 097 days.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let is_next_year = month_from_march >= 10;
    let month = if is_next_year {
        month_from_march - 10
    } else {
        month_from_march + 2
    };
    (
        era * 400 + year_of_era + u64::from(is_next_year),
        month,
        day,
    )
}

fn two_digits(number: u64) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(unix_seconds: u64) -> String {
        String::from_utf8(format(unix_seconds).to_vec()).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn the_edges_of_days_years_and_leap_years_are_right() {
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(951_782_399), "Mon, 28 Feb 2000 23:59:59 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(1_735_689_599), "Tue, 31 Dec 2024 23:59:59 GMT");
        assert_eq!(text(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(text(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn days_follow_each_other_for_four_hundred_years() {
        let mut expected = (1970, 0, 1);
        for days in 0..146_097 {
            assert_eq!(civil(days), expected);
            expected = day_after(expected);
        }
    }

    fn day_after((year, month, day): (u64, u64, u64)) -> (u64, u64, u64) {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = [
            31,
            28 + u64::from(is_leap),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ][month as usize];
        match (day == length, month) {
            (false, _) => (year, month, day + 1),
            (true, 11) => (year + 1, 0, 1),
            (true, _) => (year, month + 1, 1),
        }
    }
}
