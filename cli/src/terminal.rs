//! Printing what others wrote: subjects, reasons and payloads come from outside, and a terminal obeys what it is sent.
//!
//! Everything but `--raw` is printed by what is here.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
};

use anyhow::{Context as _, bail};
use console::Style;
use serde::Serialize;

/// Prints a line, with all that a terminal would obey escaped.
pub(crate) fn print(line: &str) {
    say!("{}", harmless(line));
}

/// Prints a value as one line of JSON, with all that a terminal would obey escaped.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", json_line(value)?);
    Ok(())
}

/// Prints a line, for a caller who has something to do before the end even if nobody reads on.
///
/// # Errors
/// If nobody does.
pub(crate) fn try_print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", harmless(line))?;
    out.flush()
}

/// Asks whether to go on, on a terminal.
///
/// # Errors
/// If the answer is not yes, or if nobody can be asked: `--yes` is the way to go on then.
pub(crate) fn confirm(warning: &str) -> anyhow::Result<()> {
    let input = io::stdin();
    if !input.is_terminal() {
        bail!("{warning}\nTo go on without being asked, add --yes");
    }
    eprint!("{warning}\nGo on? [y/N] ");
    let mut line = String::new();
    input.lock().read_line(&mut line).context("failed to read the answer")?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("stopped, nothing was changed"),
    }
}

/// A line of columns, two spaces apart, some of them coloured. What others wrote in them is escaped.
#[derive(Debug, Default)]
pub(crate) struct Columns(Vec<(String, usize, Style)>);

impl Columns {
    /// Adds a column of at least this width.
    pub(crate) fn plain(self, text: &str, width: usize) -> Self {
        self.styled(text, width, Style::new())
    }

    /// Adds a column that is styled on a terminal, and nowhere else.
    pub(crate) fn styled(mut self, text: &str, width: usize, style: Style) -> Self {
        self.0.push((harmless(text).into_owned(), width, style));
        self
    }

    /// Prints the line.
    pub(crate) fn print(self) {
        say!("{}", self.line(|text, style| style.apply_to(text).to_string()));
    }

    /// The line without colours.
    pub(crate) fn text(self) -> String {
        self.line(|text, _| text.to_owned())
    }

    /// Columns at the end that are empty take no space.
    fn line(mut self, styled: impl Fn(&str, &Style) -> String) -> String {
        while self.0.pop_if(|(text, ..)| text.is_empty()).is_some() {}
        let last = self.0.len().saturating_sub(1);
        let cells = self.0.iter().enumerate().map(|(n, (text, width, style))| {
            // Not by the width of what is styled: its codes have none.
            let padding = if n == last { 0 } else { width.saturating_sub(text.chars().count()) };
            format!("{}{:padding$}", styled(text, style), "")
        });
        cells.collect::<Vec<_>>().join("  ")
    }
}

/// The colour of an outcome.
pub(crate) fn outcome_style(outcome: &str) -> Style {
    match outcome {
        "approved" => Style::new().green(),
        "rejected" | "failed" => Style::new().red(),
        "review" | "action_required" => Style::new().yellow(),
        _ => Style::new(),
    }
}

/// The same text, in which a terminal finds nothing to obey: control characters are escaped as Rust escapes them. So one
/// line stays one line.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, |escaped, c| escaped.extend(c.escape_default()))
}

/// A value as one line of JSON, in which a terminal finds nothing to obey.
pub(crate) fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(harmless_json(&serde_json::to_string(value)?).into_owned())
}

/// The same JSON on one line, in which a terminal finds nothing to obey. It has to be valid.
///
/// JSON allows DEL, the controls of C1 and those of text direction in strings as they are, and serde_json leaves them so.
/// They can be escaped there, and mean the same. Line breaks and tabs stand as they are only between tokens.
pub(crate) fn harmless_json(json: &str) -> Cow<'_, str> {
    escaped(json, |escaped, c| match c {
        '\0'..' ' => escaped.push(' '),
        // All of them have four digits, so no surrogates are needed. Writing to a text does not fail.
        c => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
    })
}

fn escaped(text: &str, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            escape(&mut escaped, c);
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal does something else with it than show it: the controls of C0 and C1, DEL, the separators of lines and
/// paragraphs, and the [controls of text direction](https://www.unicode.org/reports/tr9/#Directional_Formatting_Codes),
/// which make a line read as another one.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text with everything in it that no terminal may get: what sets a title, clears the screen, breaks the line, and turns
/// the direction of what follows.
#[cfg(test)]
pub(crate) const HOSTILE: &str =
    "a\u{1b}]0;title\u{7}\u{1b}[2J\r\n\t\u{0}\u{7f}\u{85}\u{9b}31m\u{202e}\u{2066}\u{2028}\u{61c}z";

/// Checks that a line that was printed holds nothing that a terminal obeys.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_harmless(line: &str) {
    assert!(!line.chars().any(is_obeyed), "{line:?}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::RawValue};

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_all_else_stays() {
        for (text, printed) in [
            ("0b1c-42 \u{fc}\u{4e2d}\u{1f600} a\\n\"", "0b1c-42 \u{fc}\u{4e2d}\u{1f600} a\\n\""),
            ("\u{1b}[31mred", r"\u{1b}[31mred"),
            ("one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
            ("\u{9b}2J\u{7f}", r"\u{9b}2J\u{7f}"),
            ("\u{202e}gnp.exe", r"\u{202e}gnp.exe"),
        ] {
            assert_eq!(harmless(text), printed);
        }
        assert_harmless(&harmless(HOSTILE));
    }

    /// What these commands print comes from outside.
    #[test]
    fn what_others_wrote_is_printed_from_here_alone() {
        for (command, source) in [
            ("list", include_str!("list.rs")),
            ("logs", include_str!("logs.rs")),
            ("why", include_str!("why.rs")),
            ("tail", include_str!("tail.rs")),
            ("redrive", include_str!("redrive.rs")),
            ("replay", include_str!("replay.rs")),
            ("reprocess", include_str!("reprocess.rs")),
            ("restore", include_str!("restore.rs")),
            ("rebuild", include_str!("rebuild.rs")),
            ("verify", include_str!("verify.rs")),
        ] {
            assert!(!source.contains("say!") && source.contains("terminal::"), "{command}");
        }
    }

    #[test]
    fn columns_are_padded_escaped_and_coloured_without_their_padding() {
        let columns = || {
            let red = Style::new().red().force_styling(true);
            Columns::default().plain("one", 5).styled("a\u{1b}b", 9, red).plain("three", 8).plain("", 4)
        };
        assert_eq!(columns().text(), r"one    a\u{1b}b   three");
        let coloured = columns().line(|text, style| style.apply_to(text).to_string());
        assert_eq!(coloured, "one    \u{1b}[31ma\\u{1b}b\u{1b}[0m   three");
        assert_eq!(Columns::default().plain("", 4).text(), "");
    }

    #[test]
    fn json_is_one_harmless_line_that_means_the_same() {
        let value = json!({ HOSTILE: [HOSTILE, 1.5, null], "plain": "\u{fc}" });
        let line = json_line(&value).unwrap();
        assert_harmless(&line);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);

        // As a payload in a message, which is told as it came.
        let payload = "{\n\t\"a\": \"\u{9b}\u{202e}\",\r\n \"b\": 1.000000000000000000001 }".to_owned();
        let raw = RawValue::from_string(payload.clone()).unwrap();
        let line = json_line(&json!({})).unwrap() + &json_line(&raw).unwrap();
        assert_harmless(&line);
        assert!(line.ends_with(r#""b": 1.000000000000000000001 }"#), "{line}");
        assert_eq!(
            serde_json::from_str::<Value>(&line[2..]).unwrap(),
            serde_json::from_str::<Value>(&payload).unwrap()
        );
    }
}
