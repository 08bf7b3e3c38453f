//! Built-in functions of ours that Python calls for each request, made without the cost of PyO3's: arguments come in an
//! array, and none is converted.

use std::{
    ffi::CStr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use pyo3::{
    PyClass,
    exceptions::{PyRuntimeError, PyTypeError},
    ffi,
    prelude::*,
    types::{PyString, PyTuple},
};

/// What a builtin made by [`builtin`] does: `this` is the object it is bound to, `arguments` are positional.
pub(in crate::python) type Behaviour<T> =
    for<'py> fn(&Bound<'py, T>, &[Borrowed<'_, 'py, PyAny>]) -> PyResult<Py<PyAny>>;

/// A builtin's behaviour as a type, so that each gets a C function of its own.
pub(in crate::python) trait Builtin {
    type This: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync;
    const NAME: &'static CStr;
    const DOC: &'static CStr;
    /// By what names arguments may be given; none: by their places only.
    const PARAMETERS: &'static [&'static str] = &[];
    const BEHAVIOUR: Behaviour<Self::This>;
}

/// A built-in function bound to `this`, called with the arguments in an array: the cheapest callable there is.
pub(in crate::python) fn builtin<B: Builtin + 'static>(
    this: &Bound<'_, B::This>,
) -> PyResult<Py<PyAny>> {
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

static DEFINITIONS: Mutex<Vec<(&'static CStr, Definition)>> = Mutex::new(Vec::new());

impl Definition {
    fn of<B: Builtin>(new: Box<ffi::PyMethodDef>) -> *mut ffi::PyMethodDef {
        let mut made = DEFINITIONS.lock().unwrap_or_else(PoisonError::into_inner);
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
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(result)) => result.into_ptr(),
        Ok(Err(error)) => {
            // SAFETY: CPython called us, so the interpreter is held.
            error.restore(unsafe { Python::assume_attached() });
            std::ptr::null_mut()
        }
        Err(_) => {
            let error = PyRuntimeError::new_err("the server panicked; see its error log");
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
