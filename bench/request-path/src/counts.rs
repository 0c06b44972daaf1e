//! What gungraun counted.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::Value;

/// Instruction counts by the names of their benches.
pub type Counts = BTreeMap<String, u64>;

/// What gungraun says of one bench, as far as it matters.
#[derive(Deserialize)]
struct Summary {
    function_name: String,
    id: String,
    profiles: Value,
}

/// The counts in gungraun's output, which has a line for each bench (`--output-format=json`).
///
/// # Errors
/// If it is none, or empty.
pub fn read(output: &str) -> anyhow::Result<Counts> {
    let count = |line| {
        let Summary { function_name, id, profiles } = serde_json::from_str(line)?;
        let name = format!("{function_name}::{id}");
        let count = profiles.pointer("/0/data/total/metrics/Ir/values/new").and_then(Value::as_u64);
        let count = count.with_context(|| format!("{name} has no count"))?;
        Ok((name, count))
    };
    let counts: Counts = output.lines().map(count).collect::<anyhow::Result<_>>()?;
    ensure!(!counts.is_empty(), "nothing was counted");
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_has_the_name_of_its_bench() {
        let line = r#"{"function_name":"answer","id":"verifyvasp_fresh","group":"functions",
            "profiles":[{"data":{"total":{"metrics":{"Ir":{"values":{"new":141491,"old":141490}}}}}}]}"#;
        let counts = read(&line.replace('\n', "")).unwrap();
        assert_eq!(counts, Counts::from([("answer::verifyvasp_fresh".to_owned(), 141_491)]));
    }

    #[test]
    fn no_counts_are_an_error() {
        assert!(read("").is_err());
        assert!(read("{}").is_err());
    }
}
