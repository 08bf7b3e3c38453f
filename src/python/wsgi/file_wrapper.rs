//! `wsgi.file_wrapper`: a file that the app returns goes out by sendfile(2) where it is a real one, block by block where
//! it is not.

use std::{fs::File, os::fd::RawFd};

use pyo3::{
    exceptions::PyStopIteration,
    intern,
    prelude::*,
    types::{PyBytes, PyCFunction},
};

use crate::sys::duplicate;

#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    block_size: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, block_size=65536))]
    fn new(filelike: Py<PyAny>, block_size: usize) -> Self {
        Self {
            filelike,
            block_size,
        }
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let block = self
            .filelike
            .bind(py)
            .call_method1("read", (self.block_size,))?;
        let is_end = block
            .cast::<PyBytes>()
            .is_ok_and(|bytes| bytes.as_bytes().is_empty());
        if is_end {
            Err(PyStopIteration::new_err(()))
        } else {
            Ok(block)
        }
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let filelike = self.filelike.bind(py);
        if filelike.hasattr("close")? {
            filelike.call_method0("close")?;
        }
        Ok(())
    }
}

impl FileWrapper {
    /// The regular file behind it, with where it stands and where it ends. `None`: it has to be read block by block.
    pub(super) fn regular_file(&self, py: Python<'_>) -> Option<(File, u64, u64)> {
        let plain = plain_file(self.filelike.bind(py)).ok()??;
        let descriptor: RawFd = plain.call_method0("fileno").ok()?.extract().ok()?;
        // `tell` knows of bytes that Python's buffer has read ahead; the descriptor does not.
        let at: u64 = plain.call_method0("tell").ok()?.extract().ok()?;
        py.detach(|| {
            let file = File::from(duplicate(descriptor).ok()?);
            let metadata = file.metadata().ok()?;
            let end = metadata.len();
            // Files of /proc say that they are empty.
            (metadata.is_file() && end > 0 && at <= end).then_some((file, at, end))
        })
    }
}

/// The file of `io` whose bytes `read` returns as they are on the disk: the object itself, or the one that it hands its `read` on to.
/// What decompresses or decrypts has a `fileno`, too, and reads otherwise.
fn plain_file<'py>(filelike: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = filelike.py();
    let kind = filelike.get_type().fully_qualified_name()?;
    let read = match kind.to_str()? {
        // It has a function of its own around each that it hands on.
        "tempfile._TemporaryFileWrapper" => filelike.getattr(intern!(py, "file"))?,
        _ => filelike.clone(),
    }
    .getattr(intern!(py, "read"))?;
    if !read.is_instance_of::<PyCFunction>() {
        return Ok(None);
    }
    let owner = read.getattr(intern!(py, "__self__"))?;
    let io = py.import(intern!(py, "io"))?;
    for plain in ["BufferedReader", "BufferedRandom", "FileIO"] {
        if owner.get_type().is(io.getattr(plain)?) {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}
