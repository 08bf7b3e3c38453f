//! The calls into CPython that the hot path makes directly, each behind a safe function. PyO3's own API does the same
//! with more reference counting and conversions: 0.2 to 0.4 µs a request, which is worth this one file.
//!
//! Everything here is in the limited API of CPython 3.10.

#![expect(
    unsafe_code,
    reason = "this file wraps the interpreter's C functions for the hot path"
)]

use std::{
    cell::{RefCell, RefMut},
    ffi::{CStr, c_char, c_long},
};

use pyo3::{
    PyClass,
    exceptions::PyTypeError,
    ffi,
    prelude::*,
    types::{PyBytes, PyDict, PyString, PyTuple},
};

/// A cell that only the holder of the interpreter touches. Engines refuse interpreters without a global lock, so at any
/// time there is one holder.
pub(super) struct HeldCell<T>(RefCell<T>);

// SAFETY: `borrow` asks for the interpreter, which one thread holds at a time, and a `RefMut` cannot outlive the `Python`
// it was borrowed with. The references inside are moved between threads only together with the interpreter.
unsafe impl<T: Send> Sync for HeldCell<T> {}

impl<T> HeldCell<T> {
    pub(super) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// The value, unless it is borrowed.
    pub(super) fn try_borrow<'a>(&'a self, _py: Python<'a>) -> Option<RefMut<'a, T>> {
        self.0.try_borrow_mut().ok()
    }

    /// The value. Not to be kept while Python code runs: it may come back here.
    pub(super) fn borrow<'a>(&'a self, _py: Python<'a>) -> RefMut<'a, T> {
        self.0.borrow_mut()
    }
}

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

/// Whether the dict has this key.
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

/// The items of a list.
#[inline]
pub(super) fn list_item<'a, 'py>(
    list: &'a Bound<'py, PyAny>,
    index: usize,
) -> Option<Borrowed<'a, 'py, PyAny>> {
    // SAFETY: a list, checked by the caller through `list_len`; an index out of range gives null and an exception.
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
pub(super) enum Sent<'py> {
    Yielded(Bound<'py, PyAny>),
    Returned,
}

/// Resumes a coroutine, or any iterator, with a value.
#[inline]
pub(super) fn send_into<'py>(
    coroutine: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Sent<'py>> {
    let py = coroutine.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: live objects; the result is a new reference unless it is an error, which leaves an exception.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => Ok(Sent::Yielded(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_RETURN => {
                drop(Bound::from_owned_ptr(py, result));
                Ok(Sent::Returned)
            }
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// What a builtin made by [`builtin`] does: `this` is the object it is bound to, `arguments` are positional.
pub(super) type Behaviour<T> =
    for<'py> fn(&Bound<'py, T>, &[Borrowed<'_, 'py, PyAny>]) -> PyResult<Py<PyAny>>;

/// A builtin's behaviour as a type, so that each gets a C function of its own.
pub(super) trait Builtin {
    type This: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync;
    const NAME: &'static CStr;
    const DOC: &'static CStr;
    /// By what names arguments may be given; none: by their places only.
    const PARAMETERS: &'static [&'static str] = &[];
    const BEHAVIOUR: Behaviour<Self::This>;
}

/// A built-in function bound to `this`, called with the arguments in an array: the cheapest callable there is.
pub(super) fn builtin<B: Builtin + 'static>(this: &Bound<'_, B::This>) -> PyResult<Py<PyAny>> {
    let definition = Box::new(ffi::PyMethodDef {
        ml_name: B::NAME.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: fast_call::<B>,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: B::DOC.as_ptr(),
    });
    // SAFETY: the function keeps a pointer to its definition for as long as it lives, and a reference to `this`. The
    // definition is leaked; [`Definition`] makes that once per builtin, not once per function.
    unsafe {
        let definition = Definition::of::<B>(definition);
        let function = ffi::PyCFunction_NewEx(definition, this.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(this.py(), function).map(Bound::unbind)
    }
}

/// The definitions made so far, by name.
struct Definition(*mut ffi::PyMethodDef);

// SAFETY: a definition is never written to after it was made.
unsafe impl Send for Definition {}

static DEFINITIONS: std::sync::Mutex<Vec<(&'static CStr, Definition)>> =
    std::sync::Mutex::new(Vec::new());

impl Definition {
    fn of<B: Builtin>(new: Box<ffi::PyMethodDef>) -> *mut ffi::PyMethodDef {
        let mut made = DEFINITIONS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, definition)) = made.iter().find(|(name, _)| *name == B::NAME) {
            return definition.0;
        }
        let definition = Box::into_raw(new);
        made.push((B::NAME, Self(definition)));
        definition
    }
}

// SAFETY: only CPython calls it, through a definition made above, with what METH_FASTCALL with METH_KEYWORDS promises.
unsafe extern "C" fn fast_call<B: Builtin>(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let call = || {
        // SAFETY: CPython calls this with the interpreter held, `this` as it was bound, and `count` live arguments, behind which are as
        // many as the tuple `names` has, if it is not null; `Borrowed` is a transparent pointer to one.
        let (this, arguments, names) = unsafe {
            let py = Python::assume_attached();
            let this = Bound::from_borrowed_ptr(py, this).cast_into_unchecked::<B::This>();
            let names = Bound::from_borrowed_ptr_or_opt(py, names)
                .map(|names| names.cast_into_unchecked::<PyTuple>());
            let total = count as usize + names.as_ref().map_or(0, |names| names.len());
            let arguments: &[Borrowed<'_, '_, PyAny>] = match total {
                0 => &[],
                _ => std::slice::from_raw_parts(arguments.cast(), total),
            };
            (this, arguments, names)
        };
        match names {
            None => (B::BEHAVIOUR)(&this, arguments),
            Some(names) => {
                let in_order = in_order::<B>(arguments, &names)?;
                (B::BEHAVIOUR)(&this, &in_order)
            }
        }
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(Ok(result)) => result.into_ptr(),
        Ok(Err(error)) => {
            // SAFETY: CPython called us, so the interpreter is held.
            error.restore(unsafe { Python::assume_attached() });
            std::ptr::null_mut()
        }
        Err(_) => {
            let error =
                pyo3::exceptions::PyRuntimeError::new_err("the server panicked; see its error log");
            // SAFETY: as above.
            error.restore(unsafe { Python::assume_attached() });
            std::ptr::null_mut()
        }
    }
}

/// The arguments in the order of the parameters, where the last ones were given by these names.
#[cold]
fn in_order<'a, 'py, B: Builtin>(
    arguments: &[Borrowed<'a, 'py, PyAny>],
    names: &Bound<'py, PyTuple>,
) -> PyResult<Vec<Borrowed<'a, 'py, PyAny>>> {
    let (placed, named) = arguments.split_at(arguments.len() - names.len());
    let function = B::NAME.to_string_lossy();
    let mut slots = vec![None; B::PARAMETERS.len().max(placed.len())];
    for (slot, argument) in slots.iter_mut().zip(placed) {
        *slot = Some(*argument);
    }
    for (name, argument) in names.iter().zip(named) {
        let name = name.cast::<PyString>()?.to_str()?.to_owned();
        let place = B::PARAMETERS.iter().position(|known| **known == *name);
        match place.map(|place| &mut slots[place]) {
            Some(slot @ None) => *slot = Some(*argument),
            _ => {
                let reason = format!("{function}() has no use for an argument {name:?}");
                return Err(PyTypeError::new_err(reason));
            }
        }
    }
    let given: Vec<_> = slots.iter().map_while(|slot| *slot).collect();
    match given.len() == arguments.len() {
        true => Ok(given),
        false => Err(PyTypeError::new_err(format!(
            "{function}() lacks the argument {:?}",
            B::PARAMETERS[given.len()]
        ))),
    }
}

/// Raises `exception` in the thread with this identifier when it next runs Python code; `None` takes it back.
pub(super) fn raise_in_thread(_py: Python<'_>, thread: u64, exception: Option<&Bound<'_, PyAny>>) {
    let exception = exception.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: a thread that is gone is not found; CPython takes its own reference to the exception.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as c_long, exception) };
}

/// The bytes of a `bytes` object, readable without the interpreter for as long as this lives.
pub(super) struct SharedBytes {
    start: *const u8,
    length: usize,
    /// Dropped on a thread without the interpreter, the reference is given back when it is next held.
    _object: Py<PyBytes>,
}

// SAFETY: a `bytes` object never changes nor moves, and the reference keeps it alive.
unsafe impl Send for SharedBytes {}

impl SharedBytes {
    pub(super) fn new(object: &Bound<'_, PyBytes>) -> Self {
        let bytes = object.as_bytes();
        Self {
            start: bytes.as_ptr(),
            length: bytes.len(),
            _object: object.clone().unbind(),
        }
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}
