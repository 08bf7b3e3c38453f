//! Text for a terminal: tables, figures, and what others had a say in.

/// Columns as wide as what stands in them; those that `right` names are aligned to the right.
pub(super) fn table(head: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(head[column].chars().count())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right.contains(&column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    let rows = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    let lines: Vec<String> = std::iter::once(line(head.to_vec())).chain(rows).collect();
    lines.join("\n")
}

/// `0.4s`, `12s`, `3m 20s`, `5h 1m`, `12d 3h`
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..=9 => format!("{seconds:.1}s"),
        10..=59 => format!("{whole}s"),
        60..=3599 => format!("{}m {}s", whole / 60, whole % 60),
        3600..=86_399 => format!("{}h {}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// `35 MiB`; a dash when it is not known.
pub(super) fn mebibytes(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("{} MiB", bytes.div_ceil(1 << 20)),
        None => "-".to_owned(),
    }
}

/// A word of the server's, as it is in JSON.
pub(super) fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// One line. Clients choose the paths of their requests: what could steer a terminal, or turn the text around, becomes a `?`.
pub(super) fn safe(text: &str) -> String {
    let safe = |one| if is_harmful(one) { '?' } else { one };
    text.chars().map(safe).collect()
}

/// The same with its line ends and tabs.
pub(super) fn safe_lines(text: &str) -> String {
    let keeps = |one| matches!(one, '\n' | '\t') || !is_harmful(one);
    let safe = |one| if keeps(one) { one } else { '?' };
    text.chars().map(safe).collect()
}

fn is_harmful(one: char) -> bool {
    one.is_control()
        || matches!(one, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        assert_eq!(
            safe("GET /\u{1b}[2J\u{9b}1m\r\n\u{202e}é"),
            "GET /?[2J?1m???é"
        );
        assert_eq!(safe_lines("a\n\tb\r\u{9b}2J"), "a\n\tb??2J");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["1".to_owned(), "ready".to_owned(), "5".to_owned()],
            vec!["12".to_owned(), "é".to_owned(), "1000".to_owned()],
        ];
        assert_eq!(
            table(&["NO", "STATE", "REQUESTS"], &[0, 2], &rows),
            "NO  STATE  REQUESTS\n 1  ready         5\n12  é          1000"
        );
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let told = [0.44, 12.9, 200.0, 18_061.0, 1_047_600.0].map(span);
        assert_eq!(told, ["0.4s", "12s", "3m 20s", "5h 1m", "12d 3h"]);
    }
}
