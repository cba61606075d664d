//! Makes images out of programs of this host, with the libraries that they need.
//!
//! In: paths of programs, folders and texts. Out: an image in an engine, made by `docker import`.
//!
//! Nothing is pulled: there need not be a registry.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::Docker;

/// An image that is being put together.
#[derive(Debug)]
pub struct Image {
    name: String,
    root: TempDir,
    programs: Vec<PathBuf>,
    changes: Vec<String>,
}

impl Image {
    /// Begins an image with the folders that every program expects, and nothing in them.
    pub fn new(name: &str) -> Self {
        let root = tempfile::Builder::new().prefix("muster-image-").tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["usr/bin", "usr/lib", "usr/lib64", "tmp", "run", "etc", "proc", "sys", "dev"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        for name in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
        }
        Self { name: name.to_owned(), root, programs: Vec::new(), changes: Vec::new() }
    }

    /// Adds a program of this host under its own path, and the libraries that it is linked with.
    #[must_use]
    pub fn program(mut self, path: &str) -> Self {
        self.put(Path::new(path));
        self.programs.push(path.into());
        self
    }

    /// Adds several programs of `/usr/bin`.
    #[must_use]
    pub fn programs(self, names: &[&str]) -> Self {
        names.iter().fold(self, |image, name| image.program(&format!("/usr/bin/{name}")))
    }

    /// Adds a folder of this host with all that is in it, as it is.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        let to = self.inside(Path::new(path));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let done = Command::new("cp").args(["-a", path]).arg(&to).status().unwrap();
        assert!(done.success(), "copying {path}");
        self
    }

    /// Adds the files of a folder, but not of those in it, whose names end with a dot and this.
    #[must_use]
    pub fn files(self, folder: &str, ending: &str) -> Self {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().extension().is_some_and(|one| one == ending) {
                self.put(&entry.path());
            }
        }
        self
    }

    /// Adds a link.
    #[must_use]
    pub fn link(self, to: &str, path: &str) -> Self {
        symlink(to, self.inside(Path::new(path))).unwrap();
        self
    }

    /// Adds a file that anybody may execute.
    #[must_use]
    pub fn file(self, path: &str, text: &str) -> Self {
        let path = self.inside(Path::new(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Adds an empty folder that belongs to a user and a group, by their numbers.
    #[must_use]
    pub fn empty_folder(self, path: &str, user: u32, group: u32) -> Self {
        let path = self.inside(Path::new(path));
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
        self
    }

    /// Adds a line of a Dockerfile: `CMD`, `ENTRYPOINT`, `ENV`, `USER`, `LABEL`.
    #[must_use]
    pub fn change(mut self, line: &str) -> Self {
        self.changes.push(line.to_owned());
        self
    }

    /// Makes it, and returns its id: `sha256:…`.
    ///
    /// # Panics
    /// When the engine does not take it.
    pub fn build(self, docker: &Docker) -> String {
        for library in libraries(&self.programs) {
            self.put(&library);
        }
        let archive = self.root.path().with_extension("tar");
        let file = File::create(&archive).unwrap();
        let tar = Command::new("tar").arg("-C").arg(self.root.path()).args(["-c", "."]).stdout(file).status();
        assert!(tar.unwrap().success(), "tar");
        let mut args = vec!["import"];
        for change in &self.changes {
            args.extend(["--change", change]);
        }
        let path = archive.display().to_string();
        args.extend([path.as_str(), &self.name]);
        let id = docker.run(&args);
        fs::remove_file(&archive).unwrap();
        id
    }

    /// Where a path lies in the image: `/lib` and `/usr/lib` are the same folder.
    fn inside(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap();
        let is_merged = ["bin", "lib", "lib64"].iter().any(|first| path.starts_with(first));
        self.root.path().join(if is_merged { Path::new("usr").join(path) } else { path.to_owned() })
    }

    fn put(&self, path: &Path) {
        let to = self.inside(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Over a link, copying would write into what it leads to.
        drop(fs::remove_file(&to));
        fs::copy(path, &to).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn libraries(programs: &[PathBuf]) -> BTreeSet<PathBuf> {
    let output = Command::new("ldd").args(programs).stderr(Stdio::null()).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter(|line| !line.ends_with(':')).flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
