//! `!include` and `!code`: which files a spec may pull in, and the way there.
//!
//! As in Rustic AI a reference is relative to the file it stands in. Unlike there
//! the root folder holds against symbolic links as well.

use std::path::{Component, Path, PathBuf};

use super::{
    document::{Allowance, Document, FileFault},
    error::SpecError,
    location::Reference,
};

/// The files that one spec is made of.
pub(super) struct Files {
    root: Option<Root>,
    max_depth: usize,
    depth: usize,
    /// The files that are open now, outermost first; the spec's own too, if it is
    /// in a file.
    open: Vec<OpenFile>,
}

/// The folder that no file may be outside of.
struct Root {
    /// As the caller named it; references are resolved against this, as written.
    named: PathBuf,
    /// Without symbolic links; every file must be in here.
    real: PathBuf,
}

struct OpenFile {
    named: PathBuf,
    real: PathBuf,
}

impl Files {
    /// A set of files below `root`; without one every reference is refused.
    pub(super) fn new(root: Option<&Path>, max_depth: usize) -> Result<Self, SpecError> {
        let root = root
            .map(|named| match named.canonicalize() {
                Ok(real) => Ok(Root { named: named.to_owned(), real }),
                Err(source) => Err(SpecError::Read { file: named.to_owned(), source }),
            })
            .transpose()?;
        Ok(Self { root, max_depth, depth: 0, open: Vec::new() })
    }

    /// Notes the file that the spec itself is in, so that a circle back to it shows.
    pub(super) fn begin_with(&mut self, file: &Path) -> Result<(), SpecError> {
        let real = file.canonicalize().map_err(|source| SpecError::Read { file: file.to_owned(), source })?;
        self.open.push(OpenFile { named: file.to_owned(), real });
        Ok(())
    }

    /// Opens a YAML file for `!include`. When it is read, [`Files::close`] it.
    pub(super) fn open(
        &mut self,
        reference: &Reference,
        allowance: &mut Allowance,
    ) -> Result<Document<'static>, SpecError> {
        let extension = Path::new(reference.target()).extension().map(|e| e.to_ascii_lowercase());
        if !extension.is_some_and(|e| e == "yaml" || e == "yml") {
            return Err(SpecError::NotYaml { reference: reference.clone() });
        }
        let file = self.resolve(reference)?;
        if let Some(first) = self.open.iter().position(|open| open.real == file.real) {
            let mut chain: Vec<_> = self.open[first..].iter().map(|open| open.named.clone()).collect();
            chain.push(file.named);
            return Err(SpecError::Circular { reference: reference.clone(), chain });
        }
        if self.depth == self.max_depth {
            return Err(SpecError::IncludeDepth { reference: reference.clone(), limit: self.max_depth });
        }
        let document = read(&file.named, reference, allowance)?;
        self.open.push(file);
        self.depth += 1;
        Ok(document)
    }

    /// Leaves the file that was opened last.
    pub(super) fn close(&mut self) {
        self.open.pop();
        self.depth -= 1;
    }

    /// The text of any file, for `!code`.
    pub(super) fn code(
        &mut self,
        reference: &Reference,
        allowance: &mut Allowance,
    ) -> Result<String, SpecError> {
        let file = self.resolve(reference)?;
        Ok(read(&file.named, reference, allowance)?.into_python_text())
    }

    fn resolve(&self, reference: &Reference) -> Result<OpenFile, SpecError> {
        let root = self.root.as_ref().ok_or_else(|| SpecError::NoFolder { reference: reference.clone() })?;
        let outside = || SpecError::OutsideRoot { reference: reference.clone(), root: root.named.clone() };
        let folder = match self.open.last() {
            Some(open) => open.named.parent().unwrap_or(Path::new("")),
            None => &root.named,
        };
        let named = tidy(&folder.join(reference.target()));
        let unreadable =
            |source| SpecError::Unreadable { reference: reference.clone(), file: named.clone(), source };

        // By name first: whether a file outside exists is not for a spec to learn.
        let absolute = |path: &Path| std::path::absolute(path).map(|path| tidy(&path)).map_err(unreadable);
        if !absolute(&named)?.starts_with(absolute(&root.named)?) {
            return Err(outside());
        }
        let real = named.canonicalize().map_err(unreadable)?;
        if !real.starts_with(&root.real) {
            return Err(outside());
        }
        Ok(OpenFile { named, real })
    }
}

fn read(
    file: &Path,
    reference: &Reference,
    allowance: &mut Allowance,
) -> Result<Document<'static>, SpecError> {
    Document::from_file(file, allowance).map_err(|fault| match fault {
        FileFault::Spec(error) => error,
        FileFault::System(source) => {
            SpecError::Unreadable { reference: reference.clone(), file: file.to_owned(), source }
        }
    })
}

/// Resolves `.` and `..` by name alone, as Python's `os.path.abspath` does.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidied.components().next_back(), Some(Component::Normal(_))) => {
                tidied.pop();
            }
            Component::ParentDir if tidied.has_root() => {}
            component => tidied.push(component),
        }
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_tidied_by_name() {
        for (path, wanted) in [
            ("a/./b/../c", "a/c"),
            ("/a/../../b", "/b"),
            ("../a/..", ".."),
            ("a/../..", ".."),
            ("../../a", "../../a"),
        ] {
            assert_eq!(tidy(Path::new(path)), Path::new(wanted), "{path}");
        }
    }
}
