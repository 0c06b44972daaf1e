//! What the documents say is there.

use std::path::{Path, PathBuf};

/// Every Markdown file of the project.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let mut found = Vec::new();
    documents(&cli::project_root().unwrap(), &mut found);
    assert!(found.len() > 10);
    for document in found {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(document.with_file_name(path).exists(), "{} leads to {path}", document.display());
        }
    }
}

#[test]
fn every_test_that_the_page_on_reliability_names_exists() {
    let root = cli::project_root().unwrap();
    let mut sources = std::fs::read_to_string(root.join("functions/publisher/src/lib.rs")).unwrap();
    for entry in std::fs::read_dir(root.join("tests/tests")).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "rs") {
            sources += &std::fs::read_to_string(entry.path()).unwrap();
        }
    }
    let page = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    // The code spans with the look of a test's name.
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() >= 3).collect();
    assert!(names.len() > 15);
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "{name}");
    }
}
