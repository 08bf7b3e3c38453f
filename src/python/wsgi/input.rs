//! `wsgi.input`: the request body, complete before the app is called. Reading it never waits for the client.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
};

use pyo3::{
    exceptions::PyStopIteration,
    prelude::*,
    types::{PyBytes, PyList},
};

use crate::python::ffi::GilCell;

/// Where the body is.
enum Source {
    Empty,
    Memory { bytes: Py<PyBytes>, at: usize },
    Spooled(Option<BufReader<File>>),
}

/// The file-like object of PEP 3333, with `readinto`-free `io` names.
#[pyclass(frozen, module = "rgunicorn")]
pub(super) struct Input {
    source: GilCell<Source>,
}

impl Input {
    pub(super) fn empty() -> Self {
        Self {
            source: GilCell::new(Source::Empty),
        }
    }

    pub(super) fn of_bytes(bytes: Bound<'_, PyBytes>) -> Self {
        Self {
            source: GilCell::new(Source::Memory {
                bytes: bytes.unbind(),
                at: 0,
            }),
        }
    }

    pub(super) fn of_file(file: File) -> Self {
        Self {
            source: GilCell::new(Source::Spooled(Some(BufReader::new(file)))),
        }
    }

    /// Runs a read. A file is read without the interpreter held.
    fn take<'py>(
        &self,
        py: Python<'py>,
        of_memory: impl FnOnce(&[u8]) -> usize,
        of_file: impl FnOnce(&mut BufReader<File>) -> std::io::Result<Vec<u8>> + Send,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut source = self.source.borrow(py);
        let file = match &mut *source {
            Source::Empty => return Ok(PyBytes::new(py, b"")),
            Source::Memory { bytes, at } => {
                let whole = bytes.bind(py).as_bytes();
                let count = of_memory(&whole[*at..]);
                let is_whole = *at == 0 && count == whole.len();
                let taken = if is_whole {
                    bytes.bind(py).clone()
                } else {
                    PyBytes::new(py, &whole[*at..*at + count])
                };
                *at += count;
                return Ok(taken);
            }
            Source::Spooled(file) => file.take(),
        };
        drop(source);
        let Some(mut file) = file else {
            return Err(pyo3::exceptions::PyRuntimeError::new_err(
                "two threads read wsgi.input at once",
            ));
        };
        let (file, read) = py.detach(move || {
            let read = of_file(&mut file);
            (file, read)
        });
        *self.source.borrow(py) = Source::Spooled(Some(file));
        Ok(PyBytes::new(py, &read?))
    }
}

#[pymethods]
impl Input {
    /// Up to `size` bytes; all that is left without one or with a negative one.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let most = limit(size);
        self.take(
            py,
            |bytes| bytes.len().min(most),
            |file| {
                let mut read = Vec::new();
                file.take(most as u64).read_to_end(&mut read)?;
                Ok(read)
            },
        )
    }

    /// A line with its end, or up to `size` bytes of one.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let most = limit(size);
        self.take(
            py,
            |bytes| {
                memchr::memchr(b'\n', bytes)
                    .map_or(bytes.len(), |end| end + 1)
                    .min(most)
            },
            |file| {
                let mut line = Vec::new();
                file.take(most as u64).read_until(b'\n', &mut line)?;
                Ok(line)
            },
        )
    }

    /// The lines that are left; with a `hint`, as many as have that many bytes.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let most = hint
            .filter(|hint| *hint > 0)
            .map_or(usize::MAX, isize::unsigned_abs);
        let mut total = 0;
        while total < most {
            let line = self.readline(py, None)?;
            if line.as_bytes().is_empty() {
                break;
            }
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let line = self.readline(py, None)?;
        if line.as_bytes().is_empty() {
            Err(PyStopIteration::new_err(()))
        } else {
            Ok(line)
        }
    }

    /// Does nothing: the server owns the body. Frameworks call it all the same.
    fn close(&self) {}
}

fn limit(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok())
        .unwrap_or(usize::MAX)
}
