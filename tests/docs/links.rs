//! The pages point at files and headings that exist, and every page is in the index.

use std::fs;

use super::{pages, root};

/// As the usual renderers name headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        heading
            .chars()
            .filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    for (path, text) in &pages {
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file).components().collect(),
            };
            let Ok(target) = fs::canonicalize(&target) else {
                wrong.push(format!("{}: {link}", path.display()));
                continue;
            };
            let known = pages
                .iter()
                .find(|(path, _)| fs::canonicalize(path).unwrap() == target);
            let has_anchor =
                known.is_none_or(|(_, text)| anchors(text).iter().any(|own| own == anchor));
            if !anchor.is_empty() && !has_anchor {
                wrong.push(format!("{}: no such heading: {link}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for path in pages()
        .keys()
        .filter(|path| path.parent().unwrap().ends_with("docs"))
    {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "{name} is not in docs/README.md"
        );
    }
}
