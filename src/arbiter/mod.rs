//! (skeleton)

use crate::config::ConfigLoader;

/// (skeleton)
pub fn run(loader: Box<dyn ConfigLoader>) -> u8 {
    match loader.load() {
        Ok(_) => 0,
        Err(_) => 1,
    }
}
