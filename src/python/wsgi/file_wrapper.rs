//! `wsgi.file_wrapper`: a file that the app returns goes out by sendfile(2) where it is a real one, block by block where
//! it is not.

use std::{fs::File, io::Seek, os::fd::RawFd};

use pyo3::{exceptions::PyStopIteration, prelude::*, types::PyBytes};

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
        let descriptor: RawFd = self
            .filelike
            .bind(py)
            .call_method0("fileno")
            .ok()?
            .extract()
            .ok()?;
        // `tell` knows of bytes that Python's buffer has read ahead; the descriptor does not.
        let position = self
            .filelike
            .bind(py)
            .call_method0("tell")
            .and_then(|at| at.extract::<u64>())
            .ok();
        py.detach(|| {
            let mut file = File::from(duplicate(descriptor).ok()?);
            let metadata = file.metadata().ok()?;
            let at = match position {
                Some(at) => at,
                None => file.stream_position().ok()?,
            };
            (metadata.is_file() && at <= metadata.len()).then_some((file, at, metadata.len()))
        })
    }
}
