//! The committed schema is the one that the types make. `RGUNICORN_BLESS=1 cargo test` rewrites it.

use std::{env, fs, path::Path};

#[test]
fn the_committed_schema_is_the_one_that_the_types_make() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/rgunicorn.schema.json");
    let generated = rgunicorn::config::schema_text();
    if env::var_os("RGUNICORN_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is stale: run `RGUNICORN_BLESS=1 cargo test --test schema`",
        path.display()
    );
}

#[test]
fn the_committed_schema_is_a_schema() {
    let schema = serde_json::from_str(&rgunicorn::config::schema_text()).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    assert!(jsonschema::draft7::new(&schema).is_ok());
}
