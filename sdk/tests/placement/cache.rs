//! Compiled policies on disk: used when they can be trusted, made anew when not.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use guildhall::placement::{BuiltIn, Compiled, CompiledCache, Policy};

use crate::{artifact, made};

fn load(cache: &CompiledCache) -> Compiled {
    let policy = Policy::load(&artifact("made", made::Policy::default().component()), cache).unwrap();
    // It works, however it came about.
    let service = guildhall::placement::PlacementService::new(
        policy.clone(),
        &serde_json::json!({}),
        Default::default(),
    );
    service.unwrap().observe([crate::join("a")]);
    policy.compiled()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_second_load_finds_what_the_first_kept_and_no_one_else_may_look() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("deep/policies");
    let cache = CompiledCache::at(&dir);
    assert_eq!(load(&cache), Compiled::Now);
    assert_eq!(load(&cache), Compiled::Earlier);
    let kept = entries(&dir);
    assert_eq!(kept.len(), 1, "one entry, and nothing temporary: {kept:?}");
    assert_eq!((mode(&dir), mode(&kept[0])), (0o700, 0o600));

    // Another policy has an entry of its own.
    let other = Policy::load(&BuiltIn::RoundRobin.into(), &cache).unwrap();
    assert_eq!((other.compiled(), entries(&dir).len()), (Compiled::Now, 2));
}

#[test]
fn a_damaged_entry_is_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    let cache = CompiledCache::at(&dir);
    load(&cache);
    let entry = entries(&dir).remove(0);
    let good = fs::read(&entry).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (damage, bytes) in [
        ("empty", Vec::new()),
        ("shorter than the digest", good[..7].to_vec()),
        ("truncated", good[..good.len() - 1].to_vec()),
        ("longer", [&good[..], b"x"].concat()),
        ("digest", flipped(3)),
        ("first byte of code", flipped(32)),
        ("middle", flipped(good.len() / 2)),
        ("last byte", flipped(good.len() - 1)),
    ] {
        fs::write(&entry, bytes).unwrap();
        assert_eq!(load(&cache), Compiled::Now, "{damage}");
        assert!(fs::read(&entry).unwrap() == good, "{damage}: the entry is whole again");
        assert_eq!(load(&cache), Compiled::Earlier, "{damage}");
    }
}

#[test]
fn an_entry_under_anothers_name_is_not_used() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    let cache = CompiledCache::at(&dir);
    load(&cache);
    let mine = entries(&dir).remove(0);
    Policy::load(&BuiltIn::RoundRobin.into(), &cache).unwrap();
    let others = entries(&dir).into_iter().find(|entry| *entry != mine).unwrap();
    fs::copy(&others, &mine).unwrap();
    assert_eq!(load(&cache), Compiled::Now);
}

#[test]
fn a_directory_that_others_can_enter_is_not_used() {
    for open in [0o755, 0o777, 0o710, 0o701] {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("policies");
        let cache = CompiledCache::at(&dir);
        load(&cache);
        fs::set_permissions(&dir, fs::Permissions::from_mode(open)).unwrap();
        assert_eq!(load(&cache), Compiled::Now, "{open:o}: what is there is not trusted");
        assert_eq!(load(&cache), Compiled::Now, "{open:o}: and nothing is added");
    }
}

#[test]
fn links_are_not_followed() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, link) = (parent.path().join("policies"), parent.path().join("link"));
    load(&CompiledCache::at(&dir));
    symlink(&dir, &link).unwrap();
    assert_eq!(load(&CompiledCache::at(&link)), Compiled::Now, "to a directory");

    let entry = entries(&dir).remove(0);
    let elsewhere = parent.path().join("elsewhere");
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert_eq!(load(&CompiledCache::at(&dir)), Compiled::Now, "to an entry");
    assert!(!fs::symlink_metadata(&entry).unwrap().is_symlink(), "a real entry took its place");
}

#[test]
fn without_a_cache_or_with_one_that_cannot_be_all_is_compiled() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for cache in [CompiledCache::off(), CompiledCache::at(&file), CompiledCache::at(file.join("below"))] {
        assert_eq!(load(&cache), Compiled::Now);
        assert_eq!(load(&cache), Compiled::Now);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "in the way");
}

#[test]
fn many_loads_at_once_share_a_cache() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    let cache = CompiledCache::at(&dir);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| load(&cache));
        }
    });
    assert_eq!(entries(&dir).len(), 1);
    assert_eq!(load(&cache), Compiled::Earlier);
}
