//! The registry of attributes against docs/attributes.md and the names of `keys`.

use std::collections::BTreeMap;

/// An attribute of the registry, or of the table.
#[derive(Debug, PartialEq, Eq, Default)]
struct Attribute {
    kind: String,
    words: Vec<String>,
    level: String,
    detail: String,
    has_personal_data: bool,
}

/// The value of `name: ` in a line of YAML, without quotes.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}: "))?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([',', '}']).next(),
    }
}

/// The attributes that the registry defines, each on the lines from its `id` on.
fn registry() -> BTreeMap<String, Attribute> {
    let mut attributes = BTreeMap::new();
    for group in include_str!("../../docs/registry/nat.yaml")
        .split("\n  - id: ")
        .filter(|group| group.starts_with("registry."))
    {
        for block in group.split("\n      - id: ").skip(1) {
            let (key, block) = block.split_once('\n').unwrap();
            let mut attribute = Attribute {
                kind: "string".to_owned(),
                ..Attribute::default()
            };
            for line in block.lines() {
                if line.trim_start().starts_with("- {id: ") {
                    attribute
                        .words
                        .push(field(line, "value").unwrap().to_owned());
                } else if let Some(kind) = line.strip_prefix("        type: ") {
                    attribute.kind = kind.to_owned();
                } else if line.contains("annotations: ") {
                    attribute.level = field(line, "level").unwrap().replace('`', "");
                    attribute.detail = field(line, "detail").unwrap().to_owned();
                    attribute.has_personal_data = field(line, "personal_data") == Some("true");
                }
            }
            assert!(
                attributes.insert(key.to_owned(), attribute).is_none(),
                "{key} stands in the registry twice"
            );
        }
    }
    attributes
}

/// The rows of docs/attributes.md.
fn table() -> BTreeMap<String, Attribute> {
    let mut detail = "contract";
    let mut attributes = BTreeMap::new();
    for line in include_str!("../../docs/attributes.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
    {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let key = cells[0].trim_matches('`');
        // as `Detail` documents its levels
        match key {
            "network.transport" => detail = "evidence",
            "nat_telemetry.gather.duration" => detail = "all",
            _ => {}
        }
        let words = cells[2].split('`').skip(1).step_by(2).map(str::to_owned);
        let is_closed = cells[1] == "string" && cells[2].starts_with('`');
        let attribute = Attribute {
            kind: cells[1].to_owned(),
            words: if is_closed {
                words.collect()
            } else {
                Vec::new()
            },
            level: cells[3].replace('`', ""),
            detail: detail.to_owned(),
            has_personal_data: cells[5] != "no",
        };
        attributes.insert(key.to_owned(), attribute);
    }
    attributes
}

#[test]
fn the_registry_has_the_attributes_of_the_table_and_those_of_the_metrics() {
    let (of_metrics, registry): (BTreeMap<_, _>, BTreeMap<_, _>) = registry()
        .into_iter()
        .partition(|(_, attribute)| attribute.detail == "metrics");
    assert_eq!(
        of_metrics.into_keys().collect::<Vec<_>>(),
        [otel_nat::keys::SERVER, otel_nat::keys::SERVER_OUTCOME]
    );
    let table = table();
    for (key, attribute) in &table {
        assert_eq!(registry.get(key), Some(attribute), "{key}");
    }
    assert_eq!(registry.len(), table.len());
}

#[test]
fn every_name_of_keys_is_in_the_registry() {
    let registry = include_str!("../../docs/registry/nat.yaml");
    for line in include_str!("../../src/keys.rs").lines() {
        let Some((name, value)) = line
            .strip_prefix("pub const ")
            .and_then(|rest| rest.split_once(": &str = "))
        else {
            continue;
        };
        let value = value.trim_end_matches(';').trim_matches('"');
        if matches!(name, "SCOPE" | "OTHER_SERVER") {
            continue;
        }
        let defined = ["      - id: ", "  - id: metric.", "  - id: span."]
            .map(|head| format!("{head}{value}\n"));
        assert!(
            defined.iter().any(|line| registry.contains(line)),
            "{value} is not in docs/registry/nat.yaml: add it"
        );
    }
}

#[test]
fn a_reference_leads_to_an_attribute() {
    let known = registry();
    let registry = include_str!("../../docs/registry/nat.yaml");
    let mut references = 0;
    for line in registry.lines().filter(|line| line.contains("{ref: ")) {
        let key = field(line, "ref").unwrap();
        assert!(
            known.contains_key(key),
            "{key} is referred to, and not defined"
        );
        references += 1;
    }
    assert!(references > known.len());
}
