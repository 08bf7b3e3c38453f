//! `docs/rgunicorn.1`: the man page that `rgunicorn man` prints, for packages.

use std::process::Command;

#[test]
fn the_man_page_is_the_one_that_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_rgunicorn"))
        .arg("man")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    super::compare(
        "docs/rgunicorn.1",
        &String::from_utf8(output.stdout).unwrap(),
    );
}
