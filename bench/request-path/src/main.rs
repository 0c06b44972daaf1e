//! Compares instruction counts with those that were accepted, or accepts them. `.ci/instructions` calls it.

#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use request_path::{
    baseline::{Baseline, Difference, TOLERANCE_PERCENT},
    counts::{self, Counts},
    machine::Machine,
};

/// From the root of the repository.
const BASELINE: &str = "bench/request-path/baseline.json";

/// How the counts that there are now become the baseline.
const ACCEPT: &str = ".ci/instructions accept";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, file] = arguments.as_slice() else { bail!("usage: instruction-counts compare|accept FILE") };
    let counts = std::fs::read_to_string(file).with_context(|| format!("failed to read {file}"))?;
    let counts = counts::read(&counts).with_context(|| format!("failed to read the counts in {file}"))?;
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json");
    match what.as_str() {
        "compare" => compare(&Baseline::read(&baseline)?, &counts, &Machine::this()?),
        "accept" => {
            Baseline { machine: Machine::this()?, counts }.write(&baseline)?;
            println!("instruction counts: accepted. Commit {BASELINE}, and say why they changed.");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("a count is compared or accepted, not {what}"),
    }
}

fn compare(baseline: &Baseline, counts: &Counts, machine: &Machine) -> anyhow::Result<ExitCode> {
    let other = baseline.machine.differences(machine);
    if !other.is_empty() {
        println!("-- skipped: the comparison of instruction counts ({BASELINE} was made with {})", other.join("; "));
        println!("   To make one here: {ACCEPT}");
        return Ok(ExitCode::SUCCESS);
    }
    let differences = baseline.differences(counts);
    let (better, worse): (Vec<_>, Vec<_>) = differences.iter().partition(|(_, difference)| difference.is_improvement());
    print("have shrunk", &better);
    print("have grown, or are not in both", &worse);
    Ok(if worse.is_empty() {
        println!("instruction counts: {} compared, none has grown by more than {TOLERANCE_PERCENT} %", counts.len());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(what: &str, differences: &[(&String, &Difference)]) {
    if differences.is_empty() {
        return;
    }
    println!("instruction counts: {} {what}, by more than {TOLERANCE_PERCENT} %", differences.len());
    for (bench, difference) in differences {
        println!("   {bench}: {difference}");
    }
    println!("   To accept them: {ACCEPT}");
}
