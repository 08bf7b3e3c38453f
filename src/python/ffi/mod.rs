//! The calls into CPython that the hot path makes directly, each behind a safe function. PyO3's own API does the same
//! with more reference counting and conversions: 0.2 to 0.4 µs a request, which is worth this one folder.
//!
//! Everything here is in the limited API of CPython 3.10.

#![expect(
    unsafe_code,
    reason = "this folder wraps the interpreter's C functions for the hot path"
)]

mod builtin;
mod gil_cell;
mod shared_bytes;

use std::ffi::{c_char, c_long};

use pyo3::{
    ffi,
    prelude::*,
    types::{PyBytes, PyDict, PyString},
};

pub(super) use self::{
    builtin::{Behaviour, Builtin, builtin},
    gil_cell::GilCell,
    shared_bytes::SharedBytes,
};

/// A `str` of the given latin-1 bytes, as PEP 3333 wants its native strings.
#[inline]
pub(super) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    // SAFETY: the pointer and the length describe `bytes`. The result is a new `str`, or null when memory is exhausted,
    // for which PyO3 panics.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast::<c_char>(),
            bytes.len() as ffi::Py_ssize_t,
            std::ptr::null(),
        );
        Bound::from_owned_ptr(py, text).cast_into_unchecked()
    }
}

/// Sets a key that is a `str`. It can fail for lack of memory only.
#[inline]
pub(super) fn set(dict: &Bound<'_, PyDict>, key: &Py<PyString>, value: &Bound<'_, PyAny>) {
    // SAFETY: all three are live objects, the first a dict.
    let result = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    if result != 0 {
        // Hashing and comparing exact strings does not fail.
        drop(PyErr::take(dict.py()));
    }
}

/// The value of a key that is a `str`, if the dict has it.
#[inline]
pub(super) fn item<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Py<PyString>,
) -> Option<Bound<'py, PyAny>> {
    // SAFETY: both are live objects; the result is borrowed from the dict, and null when the key is missing.
    unsafe {
        let value = ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr());
        Bound::from_borrowed_ptr_or_opt(dict.py(), value)
    }
}

/// Calls `callable(*arguments)`, with up to three of them.
#[inline]
pub(super) fn call<'py, const COUNT: usize>(
    callable: &Bound<'py, PyAny>,
    arguments: [&Bound<'py, PyAny>; COUNT],
) -> PyResult<Bound<'py, PyAny>> {
    const { assert!(COUNT <= 3) };
    let mut pointers = [std::ptr::null_mut::<ffi::PyObject>(); 3];
    for (pointer, argument) in pointers.iter_mut().zip(arguments) {
        *pointer = argument.as_ptr();
    }
    let [first, second, third] = pointers;
    // SAFETY: live objects, closed by the first null; the result is a new reference, or null with an exception set.
    unsafe {
        let result = ffi::PyObject_CallFunctionObjArgs(
            callable.as_ptr(),
            first,
            second,
            third,
            std::ptr::null_mut::<ffi::PyObject>(),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// Calls `object.name(*arguments)`.
#[inline]
pub(super) fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    [first, second, third]: [&Bound<'py, PyAny>; 3],
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: live objects, closed by a null; the result is a new reference, or null with an exception set.
    unsafe {
        let result = ffi::PyObject_CallMethodObjArgs(
            object.as_ptr(),
            name.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            third.as_ptr(),
            std::ptr::null_mut::<ffi::PyObject>(),
        );
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}

/// The only element of a list or tuple of one `bytes` object: what most apps return.
#[inline]
pub(super) fn only_bytes<'a, 'py>(
    iterable: &'a Bound<'py, PyAny>,
) -> Option<Borrowed<'a, 'py, PyBytes>> {
    let object = iterable.as_ptr();
    // SAFETY: the size and the item are asked for after the exact type was checked, and item 0 of one. The list keeps
    // its item alive: nothing runs Python code before the caller is done with it.
    unsafe {
        let item = if ffi::PyList_CheckExact(object) != 0 && ffi::PyList_Size(object) == 1 {
            ffi::PyList_GetItem(object, 0)
        } else if ffi::PyTuple_CheckExact(object) != 0 && ffi::PyTuple_Size(object) == 1 {
            ffi::PyTuple_GetItem(object, 0)
        } else {
            return None;
        };
        let item = Borrowed::from_ptr(iterable.py(), item);
        (ffi::PyBytes_CheckExact(item.as_ptr()) != 0).then(|| item.cast_unchecked())
    }
}

/// The text of a `str`, as UTF-8 that CPython keeps with it; for ASCII this costs nothing. `None`: not a `str`, or it has
/// a lone surrogate.
#[inline]
pub(super) fn text<'a>(object: Borrowed<'a, '_, PyAny>) -> Option<&'a [u8]> {
    // SAFETY: checked to be a str; the bytes live as long as it does.
    unsafe {
        if ffi::PyUnicode_Check(object.as_ptr()) == 0 {
            return None;
        }
        let mut length = 0;
        let start = ffi::PyUnicode_AsUTF8AndSize(object.as_ptr(), &raw mut length);
        if start.is_null() {
            drop(PyErr::take(object.py()));
            return None;
        }
        Some(std::slice::from_raw_parts(start.cast(), length as usize))
    }
}

/// An item of a list; `None` where the list is not that long, or is none. The list keeps it alive for as long as no Python
/// code runs.
#[inline]
pub(super) fn list_item<'a, 'py>(
    list: &'a Bound<'py, PyAny>,
    index: usize,
) -> Option<Borrowed<'a, 'py, PyAny>> {
    // SAFETY: a live object. What is no list, and an index out of range, give null and an exception.
    unsafe {
        let item = ffi::PyList_GetItem(list.as_ptr(), index as ffi::Py_ssize_t);
        if item.is_null() {
            drop(PyErr::take(list.py()));
            return None;
        }
        Some(Borrowed::from_ptr(list.py(), item))
    }
}

/// The length of a list; `None` for anything else.
#[inline]
pub(super) fn list_len(object: &Bound<'_, PyAny>) -> Option<usize> {
    // SAFETY: the size is asked of lists only.
    unsafe {
        (ffi::PyList_Check(object.as_ptr()) != 0)
            .then(|| ffi::PyList_Size(object.as_ptr()) as usize)
    }
}

/// The two members of a pair.
#[inline]
pub(super) fn pair<'a, 'py>(
    object: Borrowed<'a, 'py, PyAny>,
) -> Option<(Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
    // SAFETY: a tuple of two, which keeps its members alive.
    unsafe {
        let tuple = object.as_ptr();
        if ffi::PyTuple_Check(tuple) == 0 || ffi::PyTuple_Size(tuple) != 2 {
            return None;
        }
        let py = object.py();
        Some((
            Borrowed::from_ptr(py, ffi::PyTuple_GetItem(tuple, 0)),
            Borrowed::from_ptr(py, ffi::PyTuple_GetItem(tuple, 1)),
        ))
    }
}

/// Whether somebody beside us holds a reference.
#[inline]
pub(super) fn is_shared(py: Python<'_>, object: &Py<PyAny>) -> bool {
    reference_count(py, object) > 1
}

/// How many references there are, ours included.
#[inline]
pub(super) fn reference_count<T>(_py: Python<'_>, object: &Py<T>) -> isize {
    // SAFETY: a live object, and the interpreter is held.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// What a coroutine did when it was resumed.
pub(super) enum Resumed<'py> {
    Yielded(Bound<'py, PyAny>),
    Returned,
}

/// Resumes a coroutine, or any iterator, with a value.
#[inline]
pub(super) fn resume<'py>(
    coroutine: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Resumed<'py>> {
    let py = coroutine.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: live objects; the result is a new reference unless it is an error, which leaves an exception.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => {
                Ok(Resumed::Yielded(Bound::from_owned_ptr(py, result)))
            }
            ffi::PySendResult::PYGEN_RETURN => {
                drop(Bound::from_owned_ptr(py, result));
                Ok(Resumed::Returned)
            }
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// Raises `exception` in the thread with this identifier when it next runs Python code; `None` takes it back.
pub(super) fn raise_in_thread(_py: Python<'_>, thread: u64, exception: Option<&Bound<'_, PyAny>>) {
    let exception = exception.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: a thread that is gone is not found; CPython takes its own reference to the exception.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as c_long, exception) };
}
