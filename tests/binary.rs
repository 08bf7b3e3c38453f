//! The binary runs no Python: it neither needs libpython nor leaves a symbol of Python's to be found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

/// The names of the dynamic symbols of a 64-bit little-endian ELF file, with whether the file itself defines them.
fn dynamic_symbols(file: &[u8]) -> Vec<(String, bool)> {
    let number = |at: usize, bytes: usize| {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(&file[at..at + bytes]);
        u64::from_le_bytes(value) as usize
    };
    assert_eq!(&file[..6], b"\x7fELF\x02\x01");
    let (sections, size, count) = (number(0x28, 8), number(0x3A, 2), number(0x3C, 2));
    let section = |index: usize| sections + index * size;
    let table = (0..count)
        .map(section)
        .find(|at| number(at + 4, 4) == 11 /* SHT_DYNSYM */)
        .expect("a dynamically linked binary");
    let names = number(section(number(table + 0x28, 4)) + 0x18, 8);
    let (start, length) = (number(table + 0x18, 8), number(table + 0x20, 8));
    (start..start + length)
        .step_by(24)
        .map(|symbol| {
            let name = &file[names + number(symbol, 4)..];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            let name = String::from_utf8_lossy(&name[..end]).into_owned();
            (name, number(symbol + 6, 2) != 0)
        })
        .collect()
}

fn undefined_python_symbols(path: &Path) -> Vec<String> {
    let file = fs::read(path).unwrap();
    let symbols = dynamic_symbols(&file);
    assert!(
        symbols.iter().any(|(name, _)| name.starts_with("write")),
        "{}",
        path.display()
    );
    symbols
        .into_iter()
        .filter(|(name, defined)| !defined && (name.starts_with("Py") || name.starts_with("_Py")))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn the_binary_has_no_symbol_of_python() {
    let binary = Path::new(env!("CARGO_BIN_EXE_rgunicorn"));
    assert_eq!(undefined_python_symbols(binary), Vec::<String>::new());
    let bytes = fs::read(binary).unwrap();
    assert!(memchr::memmem::find(&bytes, b"libpython3").is_none());
}

#[test]
fn the_engine_leaves_them_to_the_interpreter_that_loads_it() {
    let engine = rgunicorn::arbiter::engine::find().unwrap();
    assert!(undefined_python_symbols(&engine).contains(&"PyErr_SetString".to_owned()));
}
