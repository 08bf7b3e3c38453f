use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

use super::*;
use crate::{arbiter::clock, config::test_config};

/// A folder with a config file and some code, and a watcher on both.
struct Scene {
    folder: TempDir,
    watcher: Watcher,
}

fn scene_with(path: &str, prepare: impl Fn(&Path)) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let reload = rules("code = '**/*.py'");
    let file = folder.path().join(path);
    let root = folder.path().join("code");
    let mut watcher = Watcher::new(Some(&file), clock::now()).unwrap();
    watcher.apply(&root, &reload, clock::now());
    Scene { folder, watcher }
}

/// The table `[reload]` with these keys.
fn rules(keys: &str) -> Reload {
    test_config(&format!("[reload]\ndebounce = '30ms'\n{keys}")).reload
}

fn scene() -> Scene {
    scene_with("server.toml", |folder| {
        fs::write(folder.join("server.toml"), "workers = 1").unwrap();
        fs::create_dir_all(folder.join("code/shop")).unwrap();
        fs::write(folder.join("code/shop/views.py"), "one").unwrap();
    })
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Never looks without having been told.
    fn that_is_told(mut self) -> Self {
        self.watcher.next_look = clock::now() + Duration::from_secs(3600);
        self
    }

    fn apply(&mut self, root: &str, reload: &Reload) {
        let root = self.path(root);
        self.watcher.apply(&root, reload, clock::now());
    }

    /// What the watcher tells within the time; it is polled as the arbiter does.
    fn changed_within(&mut self, time: Duration) -> Vec<Changed> {
        let end = clock::now() + time;
        loop {
            let now = clock::now();
            let changed = self.watcher.take_changed(now);
            if !changed.is_empty() || now >= end {
                return changed;
            }
            let wait = self.watcher.deadline().min(end).since(now) + Duration::from_millis(1);
            self.is_rung_within(wait);
            self.watcher.on_rung(clock::now());
        }
    }

    /// Whether the kernel has something to tell, or has within the time.
    fn is_rung_within(&self, time: Duration) -> bool {
        let timeout = PollTimeout::try_from(time).unwrap();
        let descriptor = self.watcher.descriptor().into_iter();
        let mut entries: Vec<PollFd<'_>> = descriptor
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        poll(&mut entries, timeout).unwrap() > 0
    }

    fn changed(&mut self) -> Vec<Changed> {
        self.changed_within(Duration::from_secs(5))
    }

    fn assert_quiet(&mut self) {
        assert_eq!(self.changed_within(Duration::from_millis(200)), []);
    }
}

#[test]
fn a_file_that_is_written_to_again_while_it_is_read_is_told_once_more() {
    let mut scene = scene();
    let path = scene.path("server.toml");
    fs::write(&path, "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
    assert!(scene.watcher.is_what_changed("workers = 2", clock::now()));
    scene.assert_quiet();
    fs::write(&path, "workers = 3").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
    assert!(!scene.watcher.is_what_changed("", clock::now()), "emptied");
    assert_eq!(scene.changed(), [Changed::Config], "as it was, but unread");
    assert!(scene.watcher.is_what_changed("workers = 3", clock::now()));
}

#[test]
fn a_file_that_was_emptied_to_be_written_is_waited_for() {
    let mut scene = scene();
    let path = scene.path("server.toml");
    fs::write(&path, "").unwrap();
    scene.assert_quiet();
    fs::write(&path, "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
    fs::write(&path, "").unwrap();
    assert_eq!(scene.changed(), [Changed::Config], "it stays empty");
}

#[test]
fn a_file_that_is_written_is_told_once() {
    let mut scene = scene();
    scene.assert_quiet();
    fs::write(scene.path("server.toml"), "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
    scene.assert_quiet();
}

#[test]
fn a_file_that_is_renamed_into_place_is_told() {
    let mut scene = scene();
    for text in ["workers = 2", "workers = 3"] {
        fs::write(scene.path(".server.toml.swp"), text).unwrap();
        fs::rename(scene.path(".server.toml.swp"), scene.path("server.toml")).unwrap();
        assert_eq!(scene.changed(), [Changed::Config]);
    }
}

#[test]
fn a_save_without_a_change_is_not_told() {
    let mut scene = scene();
    fs::write(scene.path("server.toml"), "workers = 1").unwrap();
    scene.assert_quiet();
}

#[test]
fn a_file_that_is_removed_and_comes_back_is_told_when_it_is_back() {
    let mut scene = scene();
    fs::remove_file(scene.path("server.toml")).unwrap();
    scene.assert_quiet();
    fs::write(scene.path("server.toml"), "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
}

#[test]
fn a_swap_of_a_link_in_the_middle_of_the_path_is_told() {
    // As Kubernetes mounts a ConfigMap.
    let mut scene = scene_with("etc/server.toml", |folder| {
        for (version, text) in [
            ("..1", "workers = 1"),
            ("..2", "workers = 2"),
            ("..3", "workers = 3"),
        ] {
            fs::create_dir_all(folder.join("etc").join(version)).unwrap();
            fs::write(folder.join("etc").join(version).join("server.toml"), text).unwrap();
        }
        symlink("..1", folder.join("etc/..data")).unwrap();
        symlink("..data/server.toml", folder.join("etc/server.toml")).unwrap();
    });
    for version in ["..2", "..3"] {
        symlink(version, scene.path("etc/..data_tmp")).unwrap();
        fs::rename(scene.path("etc/..data_tmp"), scene.path("etc/..data")).unwrap();
        assert_eq!(scene.changed(), [Changed::Config]);
    }
}

#[test]
fn a_folder_that_is_made_anew_is_found_by_looking() {
    let mut scene = scene_with("etc/server.toml", |folder| {
        fs::create_dir_all(folder.join("etc")).unwrap();
        fs::write(folder.join("etc/server.toml"), "workers = 1").unwrap();
    });
    fs::rename(scene.path("etc"), scene.path("old")).unwrap();
    fs::create_dir_all(scene.path("etc")).unwrap();
    fs::write(scene.path("etc/server.toml"), "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
}

#[test]
fn a_burst_of_saves_is_one_change() {
    let mut scene = scene();
    for count in 2..12 {
        fs::write(scene.path("server.toml"), format!("workers = {count}")).unwrap();
    }
    assert_eq!(scene.changed(), [Changed::Config]);
    scene.assert_quiet();
}

#[test]
fn code_that_changes_appears_or_goes_is_told_and_code_that_is_read_is_not() {
    let mut scene = scene();
    let told = |name: &str| [Changed::Code(name.into())];
    fs::read(scene.path("code/shop/views.py")).unwrap();
    fs::write(scene.path("code/shop/notes.txt"), "x").unwrap();
    scene.assert_quiet();
    fs::write(scene.path("code/shop/views.py"), "two!").unwrap();
    assert_eq!(scene.changed(), told("shop/views.py"));
    fs::create_dir_all(scene.path("code/shop/new")).unwrap();
    fs::write(scene.path("code/shop/new/urls.py"), "x").unwrap();
    assert_eq!(scene.changed(), told("shop/new/urls.py"));
    fs::remove_file(scene.path("code/shop/views.py")).unwrap();
    assert_eq!(scene.changed(), told("shop/views.py"));
}

#[test]
fn to_read_what_is_watched_wakes_nobody() {
    let mut scene = scene();
    fs::write(scene.path("server.toml"), "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
    scene.assert_quiet();
    fs::read(scene.path("server.toml")).unwrap();
    fs::read(scene.path("code/shop/views.py")).unwrap();
    for folder in ["", "code", "code/shop"] {
        assert!(fs::read_dir(scene.path(folder)).unwrap().count() > 0);
    }
    assert!(!scene.is_rung_within(Duration::from_millis(100)));
}

#[test]
fn who_reads_all_the_time_puts_no_change_off() {
    let mut scene = scene();
    let paths = ["server.toml", "code/shop/views.py"].map(|name| scene.path(name));
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Relaxed) {
                for path in &paths {
                    let _it_is_written_just_now = fs::read(path);
                }
            }
        });
        fs::write(&paths[0], "workers = 2").unwrap();
        let config = scene.changed();
        fs::write(&paths[1], "two!").unwrap();
        let code = scene.changed();
        is_done.store(true, Relaxed);
        assert_eq!(config, [Changed::Config]);
        assert_eq!(code, [Changed::Code("shop/views.py".into())]);
    });
}

#[test]
fn files_that_nobody_asked_for_are_listened_to_now_and_then() {
    let mut scene = scene();
    scene.assert_quiet();
    let write = |scene: &Scene| fs::write(scene.path("db.sqlite3"), "x").unwrap();
    write(&scene);
    assert!(scene.is_rung_within(Duration::from_millis(100)));
    scene.watcher.on_rung(clock::now());
    write(&scene);
    assert!(!scene.is_rung_within(DEAF_FOR / 2), "somebody listens");
    fs::write(scene.path("server.toml"), "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
}

#[test]
fn a_directory_that_was_moved_or_made_anew_is_watched_as_before() {
    let mut scene = scene().that_is_told();
    let (shop, away) = (scene.path("code/shop"), scene.path("away"));
    let write = |text: &str| fs::write(shop.join("views.py"), text).unwrap();
    let told = [Changed::Code("shop/views.py".into())];
    fs::rename(&shop, &away).unwrap();
    fs::rename(&away, &shop).unwrap();
    scene.assert_quiet();
    write("two!");
    assert_eq!(scene.changed(), told);
    // The second mostly gets the inode of the first.
    fs::remove_file(shop.join("views.py")).unwrap();
    fs::remove_dir(&shop).unwrap();
    fs::create_dir(&shop).unwrap();
    write("three");
    assert_eq!(scene.changed(), told);
    scene.assert_quiet();
    write("four");
    assert_eq!(scene.changed(), told);
    fs::rename(&shop, &away).unwrap();
    assert_eq!(scene.changed(), told);
}

#[test]
fn what_is_put_into_a_directory_before_it_is_watched_is_told() {
    let mut scene = scene().that_is_told();
    fs::create_dir_all(scene.path("code/new/and/deep")).unwrap();
    scene.assert_quiet();
    fs::write(scene.path("code/new/and/deep/a.py"), "x").unwrap();
    let told = [Changed::Code("new/and/deep/a.py".into())];
    assert_eq!(scene.changed(), told);
}

#[test]
fn a_change_that_the_kernel_had_no_room_to_tell_is_found() {
    let mut scene = scene().that_is_told();
    let events_max = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    for _ in 0..events_max.trim().parse::<u32>().unwrap() {
        fs::write(scene.path("notes"), "x").unwrap();
        fs::remove_file(scene.path("notes")).unwrap();
    }
    fs::write(scene.path("code/shop/views.py"), "two!").unwrap();
    let told = [Changed::Code("shop/views.py".into())];
    assert_eq!(scene.changed(), told);
}

#[test]
fn code_that_is_ignored_is_not_told() {
    let mut scene = scene();
    let reload = rules("code = '**/*.py'\nignore = ['**/tests', '**/local_*.py']");
    fs::create_dir_all(scene.path("code/shop/tests")).unwrap();
    scene.apply("code", &reload);
    fs::write(scene.path("code/shop/tests/views.py"), "x").unwrap();
    fs::write(scene.path("code/local_settings.py"), "x").unwrap();
    scene.assert_quiet();
    fs::write(scene.path("code/shop/views.py"), "two!").unwrap();
    assert_eq!(scene.changed(), [Changed::Code("shop/views.py".into())]);
}

#[test]
fn a_directory_that_two_paths_lead_to_is_watched_for_both() {
    let mut scene = scene_with("code/server.toml", |folder| {
        fs::create_dir(folder.join("release")).unwrap();
        fs::write(folder.join("release/server.toml"), "workers = 1").unwrap();
        fs::write(folder.join("release/views.py"), "one").unwrap();
        symlink("release", folder.join("code")).unwrap();
    })
    .that_is_told();
    fs::write(scene.path("release/views.py"), "two").unwrap();
    assert_eq!(scene.changed(), [Changed::Code("views.py".into())]);
    fs::write(scene.path("release/server.toml"), "workers = 2").unwrap();
    assert_eq!(scene.changed(), [Changed::Config]);
}

#[test]
fn a_release_that_is_swapped_by_a_link_is_new_code() {
    let mut scene = scene_with("server.toml", |folder| {
        fs::write(folder.join("server.toml"), "workers = 1").unwrap();
        for release in ["1", "2", "3"] {
            fs::create_dir_all(folder.join("releases").join(release)).unwrap();
            fs::write(folder.join("releases").join(release).join("a.py"), "").unwrap();
        }
        symlink("releases/1", folder.join("code")).unwrap();
    });
    for release in ["releases/2", "releases/3"] {
        symlink(release, scene.path("next")).unwrap();
        fs::rename(scene.path("next"), scene.path("code")).unwrap();
        assert_eq!(scene.changed(), [Changed::Code("a.py".into())]);
    }
}

#[test]
fn a_file_to_touch_is_told_when_it_is_made_or_touched_and_not_when_it_goes() {
    let mut scene = scene();
    let file = scene.path("tmp/restart.txt");
    let reload = rules(&format!("touch = '{}'", file.display()));
    fs::create_dir_all(scene.path("tmp")).unwrap();
    scene.apply("/", &reload);
    scene.assert_quiet();
    fs::write(&file, "").unwrap();
    assert_eq!(scene.changed(), [Changed::Touch]);
    let opened = fs::File::open(&file).unwrap();
    opened.set_modified(std::time::SystemTime::now()).unwrap();
    assert_eq!(scene.changed(), [Changed::Touch]);
    scene.apply("/", &reload);
    fs::remove_file(&file).unwrap();
    scene.assert_quiet();
    fs::remove_dir(scene.path("tmp")).unwrap();
    fs::create_dir(scene.path("tmp")).unwrap();
    fs::write(&file, "").unwrap();
    assert_eq!(scene.changed(), [Changed::Touch], "found by looking");
}

#[test]
fn a_watcher_that_is_switched_off_tells_nothing() {
    let mut scene = scene();
    scene.apply("/", &rules("watch = false"));
    fs::write(scene.path("server.toml"), "workers = 2").unwrap();
    fs::write(scene.path("code/shop/views.py"), "two!").unwrap();
    scene.assert_quiet();
}
