//! Markdown, with a part that is written by hand.

/// After this, it is written by hand.
pub(crate) const WORDS: &str = "<!-- words -->\n";

/// Before this.
pub(crate) const END_OF_WORDS: &str = "<!-- /words -->";

/// What is written by hand in a page; nothing if it has no place for that.
pub(crate) fn words(page: &str) -> &str {
    let after = page.split_once(WORDS).map(|(_, after)| after);
    after.and_then(|after| after.split_once(END_OF_WORDS)).map(|(words, _)| words).unwrap_or_default()
}

/// A table. Columns of numbers stand to the right.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let alignment = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        if cells.all(|cell| !cell.contains(char::is_alphabetic)) { "---:" } else { "---" }.to_owned()
    };
    let alignments: Vec<String> = (0..header.len()).map(alignment).collect();
    let mut lines = vec![line(&header), line(&alignments)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_between_the_markers() {
        assert_eq!(words("a\n<!-- words -->\nby hand\n\n<!-- /words -->\nb"), "by hand\n\n");
        assert_eq!(words("a"), "");
        assert_eq!(words("<!-- words -->\nnever closed"), "");
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [["a", "1 (0–2)", ""], ["b", "", "at most 1"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "|  | n | bar |\n| --- | ---: | --- |\n| a | 1 (0–2) |  |\n| b |  | at most 1 |";
        assert_eq!(table(&["", "n", "bar"], rows), expected);
    }
}
