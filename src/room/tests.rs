use super::*;

fn reset(room: &mut Room, files: &[(&str, &str)], key: &str) {
    let snapshot = Snapshot::in_memory(files);
    let ids: Vec<FileId> = snapshot.below(&RelPath::root()).collect();
    let products = [RelPath::new("target").unwrap()];
    room.reset(&Contents {
        snapshot: &snapshot,
        files: &[&ids],
        outside: &[],
        extra: &[],
        folders: &[],
        products: &products,
        watch: true,
        same_times: false,
        product_key: Digest::of(key.as_bytes()),
    })
    .unwrap();
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[test]
fn a_room_in_use_leads_to_another_number() {
    let dir = tempfile::tempdir().unwrap();
    let first = Room::take(dir.path(), "rust:fmt").unwrap();
    let second = Room::take(dir.path(), "rust:fmt").unwrap();
    let other = Room::take(dir.path(), "rust-fmt").unwrap();
    let [a, b, c] = [&first, &second, &other].map(|room| room.dir().to_owned());
    assert_eq!(
        format!("{}-2", a.to_string_lossy()),
        b.to_string_lossy().into_owned()
    );
    assert!(a != c && b != c);
    drop(first);
    assert_eq!(Room::take(dir.path(), "rust:fmt").unwrap().dir(), a);
}

#[test]
fn products_survive_under_an_equal_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::take(dir.path(), "a").unwrap();
    reset(&mut room, &[("src/a", "1")], "key");
    let product = room.tree().join("target/debug/a");
    std::fs::create_dir_all(product.parent().unwrap()).unwrap();
    std::fs::write(&product, "made").unwrap();
    reset(&mut room, &[("src/a", "2")], "key");
    assert_eq!(read(&product).as_deref(), Some("made"));
    assert_eq!(read(&room.tree().join("src/a")).as_deref(), Some("2"));
    reset(&mut room, &[("src/a", "2")], "other key");
    assert!(!room.tree().join("target").exists());
}

#[test]
fn changes_are_newer_than_products_even_if_the_clock_was_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::take(dir.path(), "a").unwrap();
    reset(&mut room, &[("a", "1")], "key");
    let future = SystemTime::now() + Duration::from_secs(3600);
    let ended = File::create(room.dir().join("ended")).unwrap();
    ended.set_modified(future).unwrap();
    let modified = |room: &Room| {
        let meta = std::fs::metadata(room.tree().join("a")).unwrap();
        meta.modified().unwrap()
    };
    reset(&mut room, &[("a", "2")], "key");
    let second = modified(&room);
    assert!(second > future);
    reset(&mut room, &[("a", "3")], "key");
    assert!(modified(&room) > second);
}

#[test]
fn hundreds_of_files_are_placed_and_a_settled_manifest_is_left_alone() {
    let files: Vec<(String, String)> = (0..600)
        .map(|i| (format!("d{}/{i}", i % 7), i.to_string()))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::take(dir.path(), "a").unwrap();
    reset(&mut room, &files, "key");
    let path = room.dir().join("manifest");
    let mut manifest = Manifest::decode(&std::fs::read(&path).unwrap()).unwrap();
    manifest.verified = Nanos::MAX;
    std::fs::write(&path, manifest.encode().unwrap()).unwrap();
    reset(&mut room, &files, "key");
    let again = Manifest::decode(&std::fs::read(&path).unwrap());
    assert_eq!(again, Some(manifest));
    assert_eq!(read(&room.tree().join("d3/10")).as_deref(), Some("10"));
}

#[test]
fn a_damaged_manifest_means_to_start_from_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::take(dir.path(), "a").unwrap();
    reset(&mut room, &[("a", "1")], "key");
    let product = room.tree().join("target");
    std::fs::create_dir(&product).unwrap();
    let manifest = room.dir().join("manifest");
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes.pop();
    std::fs::write(&manifest, bytes).unwrap();
    reset(&mut room, &[("a", "1")], "key");
    assert!(!product.exists());
    assert_eq!(read(&room.tree().join("a")).as_deref(), Some("1"));
}

#[test]
fn what_was_read_counts_for_as_long_as_products_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::take(dir.path(), "a").unwrap();
    let files = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    reset(&mut room, &files, "key");
    let Some(none) = room.reads() else { return }; // cannot be told here
    assert!(none.is_empty());
    let seen = |room: &Room| Vec::from_iter(room.reads().unwrap());
    read(&room.tree().join("a"));
    std::fs::remove_file(room.tree().join("b")).unwrap();
    assert_eq!(seen(&room), ["a", "b"]);
    // The next run is given products that were made from these; and what it resets and verifies, it did not read.
    reset(&mut room, &files, "key");
    read(&room.tree().join("c"));
    assert_eq!(seen(&room), ["a", "b", "c"]);
    reset(&mut room, &files, "other key");
    read(&room.tree().join("d"));
    assert_eq!(seen(&room), ["d"]);
}

#[test]
fn home_and_tmp_are_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::take(dir.path(), "a").unwrap();
    reset(&mut room, &[], "key");
    std::fs::write(room.home().join(".toolrc"), "").unwrap();
    std::fs::write(room.tmp().join("x"), "").unwrap();
    reset(&mut room, &[], "key");
    assert!(!room.home().join(".toolrc").exists() && !room.tmp().join("x").exists());
}

/// Resets a room to one file from `up` folders above the root, and says what became of it.
fn place_outside(up: u32, digest: &str) -> (Room, Result<(), RoomError>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut room = Room::take(dir.path(), "a").unwrap();
    let snapshot = Snapshot::in_memory(&[]); // its root is `/nonexistent`
    let outside = [OutsideFile {
        up,
        path: RelPath::new("etc/hosts").unwrap(),
        digest: match digest {
            "" => Digest::of(&std::fs::read("/etc/hosts").unwrap()),
            other => Digest::of(other.as_bytes()),
        },
    }];
    let result = room.reset(&Contents {
        snapshot: &snapshot,
        files: &[],
        outside: &outside,
        extra: &[(RelPath::new("Cargo.lock").unwrap(), b"lock".to_vec())],
        folders: &[RelPath::new("work/dir").unwrap()],
        products: &[],
        watch: false,
        same_times: true,
        product_key: Digest::of(b""),
    });
    (room, result, dir)
}

#[test]
fn files_above_the_root_lie_as_far_above_the_tree() {
    let (room, result, _dir) = place_outside(1, "");
    result.unwrap();
    let parent = room.tree().parent().unwrap().to_owned();
    assert_eq!(
        read(&parent.join("etc/hosts")),
        read(Path::new("/etc/hosts"))
    );
    assert_eq!(
        read(&room.tree().join("Cargo.lock")).as_deref(),
        Some("lock")
    );
    assert_eq!(room.above(1), parent);
    assert!(room.tree().join("work/dir").is_dir());
}

#[test]
fn a_file_that_changed_or_went_since_it_was_hashed_is_told() {
    let (_room, result, _dir) = place_outside(1, "other content");
    assert!(matches!(result, Err(RoomError::Changed(_))));
    let (_room, result, _dir) = place_outside(0, "");
    assert!(matches!(result, Err(RoomError::Changed(_))));
}

#[test]
fn slugs_are_plain_short_and_distinct() {
    assert!(slug("kustomize:build:a/b").starts_with("kustomize-build-a-b."));
    assert_ne!(slug("a:b"), slug("a/b"));
    assert!(slug(&"../".repeat(100)).len() < 64);
    assert!(!slug("../..").contains('/'));
}
