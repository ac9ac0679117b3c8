//! The rules that keep verdicts true, by name. In builds with debug assertions each can be turned off with
//! `DAGCACHE_WITHOUT=NAME[,NAME…]`, to show that its test fails without it. In other builds all rules hold, and
//! checking costs nothing.
//!
//! One line per rule. The name says what holds; [`Rule::holds`] is called where the rule matters. `tests/it/rules.rs`
//! names a test of the real binary for each. Rules that only decide a key have no switch: the unit tests of `key` fail
//! without them.

/// Declares the rules: variant = name.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal,)*) => {
        /// A rule that can be turned off in debug builds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// Its name in `DAGCACHE_WITHOUT`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    // What the snapshot believes.
    /// The change time of a file counts, not only its modification time and size.
    ChangeTime = "change-time",
    /// Times are as fine as the file system gives them; without it, whole seconds, as on an old one.
    FineTimes = "fine-times",
    /// A stat taken right after a change stands for nothing.
    Racy = "racy",
    /// A folder that changed is listed again.
    FoldersListed = "folders-listed",
    /// A changed file of ignore rules changes the universe.
    IgnoreFiles = "ignore-files",
    /// So does a new one.
    NewIgnoreFile = "new-ignore-file",
    /// So does git's configuration.
    GitSettings = "git-settings",
    /// So does what git tracks.
    TrackedPaths = "tracked-paths",
    /// A memo counts for the surroundings it was made in.
    MemoIdentity = "memo-identity",
    /// A memo is believed only if its checksum is right.
    SealVerified = "seal-verified",

    // What is staged.
    /// A file that is staged is what its blob holds, not what its path held before.
    BlobIds = "blob-ids",
    /// What is known of converted files holds under the rules of their conversion.
    CheckoutRules = "checkout-rules",
    /// What is known of a file that a filter makes holds as long as the one on disk stays.
    FiltersAgain = "filters-again",
    /// What is staged while the hook runs is checked, too.
    IndexStays = "index-stays",
    /// What git ignores is not in a commit.
    NothingBeside = "nothing-beside",

    // What a check sees.
    /// Of what the repository has in the place of a file that is read, only files are read.
    OnlyFilesAreRead = "only-files-are-read",
    /// A file that takes minutes to hash is no input.
    LargestInput = "largest-input",
    /// What does not belong in memory is not read there.
    LargestRead = "largest-read",
    /// What is copied or checked is what was hashed.
    CopyVerified = "copy-verified",
    /// What earlier runs left in a room is deleted.
    RoomCleaned = "room-cleaned",
    /// A file in a room is right only if its stat or its content says so.
    RoomChecked = "room-checked",
    /// Undeclared variables are hidden.
    EnvHidden = "env-hidden",
    /// The umask is the same for every check.
    Umask = "umask",
    /// An ignored file that is named literally is an input.
    IgnoredInputs = "ignored-inputs",
    /// Configuration above the root counts.
    ConfigAbove = "config-above",

    /// What was installed with a program counts, as it can load that.
    Neighbours = "neighbours",

    // What is stored.
    /// A timeout is no verdict.
    Timeouts = "timeouts",
    /// A signal is no verdict.
    Signals = "signals",
    /// An exit code that reports a signal is no verdict.
    SignalCodes = "signal-codes",
    /// A failure with a message about a signal may be the signal's.
    SignalMessages = "signal-messages",
    /// What was interrupted is no verdict.
    Interrupted = "interrupted",
    /// A check that sees an entry the snapshot cannot hold is not stored.
    OddEntries = "odd-entries",
    /// Nor is one that sees a link out of the project.
    LinksOut = "links-out",

    // What is served.
    /// An entry is served only if its checksum is right.
    EntryVerified = "entry-verified",
    /// And if it is of this format.
    EntryFormat = "entry-format",
    /// And if it is of the key that was asked for.
    EntryKey = "entry-key",
    /// And if it is a plain file.
    EntryPlain = "entry-plain",
    /// A blob is served only if it has the digest it is named by.
    BlobVerified = "blob-verified",
    /// Of several processes that miss the same key, one runs it.
    KeyLock = "key-lock",
    /// Who waited for another process takes its result.
    Joined = "joined",

    // What happens to the store.
    /// A file of the store appears under its name only when it is whole.
    Rename = "rename",
    /// A result is saved after everything that it names.
    EntryLast = "entry-last",
    /// Nothing is cleared or pruned while a run uses the store.
    StoreLock = "store-lock",
    /// What a check said when the disk was full is no verdict.
    FullDisk = "full-disk",
    /// What a check said in a room that was taken away is no verdict.
    RoomKept = "room-kept",
    /// The value of a secret is masked in whatever a check says.
    SecretsAreMasked = "secrets-masked",
    /// A room in which a secret was known is emptied.
    SecretRoomsAreEmptied = "secret-rooms-emptied",
    /// On a hit, what the check made is there as it made it.
    OutputsAreRestored = "outputs-restored",
    /// A stored result whose outputs are not whole is no result.
    OutputsAreWhole = "outputs-whole",
    /// No link is followed on the way to an output in the project.
    OutputsFollowNoLink = "outputs-follow-no-link",
    /// A file that git tracks is compared with an output, not overwritten.
    TrackedOutputsAreCompared = "tracked-outputs-compared",
    /// What an output replaces is kept first.
    ReplacedFilesAreKept = "replaced-files-kept",
    /// What was edited during the run is not overwritten.
    EditedOutputsStay = "edited-outputs-stay",
    /// Results older than `max-age` are no results.
    MaxAge = "max-age",
    /// Parts are as old as they are, also in a whole put together later.
    MaxAgeOfParts = "max-age-of-parts",
    /// With `cache = false` nothing is looked up.
    CacheOff = "cache-off",
    /// A stored result that an audit found wrong is not served again.
    LiesAreQuarantined = "lies-quarantined",
    /// Nothing is stored under a key that an audit found wrong.
    LiesAreDistrusted = "lies-distrusted",
    /// A check opens nothing that it was not granted.
    Confined = "confined",
    /// A check has a file system of its own, where its room is at the same path on every machine.
    OwnRoot = "own-root",
    /// A check has no network without permission.
    Offline = "offline",
    /// It sees no other processes, and all of its own end with it.
    OwnProcesses = "own-processes",
    /// It has no terminal of the user's.
    OwnSession = "own-session",
    /// System calls that lead around the other walls are refused.
    Calls = "calls",
    /// What a check does with files is observed.
    Traced = "traced",
    /// It has no capability, not even as root.
    NoCapabilities = "no-capabilities",
    /// Of the user's open files, it has none.
    Descriptors = "descriptors",
    /// It changes nothing outside its room, not even modes and times.
    ReadOnly = "read-only",
    /// A check leaves the machine usable.
    Limits = "limits",


    /// A program is what its file holds, not where it is.
    ToolContent = "tool-content",
    /// The interpreter of a script is part of what the script is.
    Interpreter = "interpreter",
    /// What is installed for a Python program, and what the files of it hold, is part of what the program is.
    VenvPackages = "venv-packages",
    /// So are the packages that a Node program loads.
    NodePackages = "node-packages",
    /// Where a shim leads is asked again when anything changed that decides it.
    Shims = "shims",
    /// A program of which it cannot be told what it is makes a result that is not stored.
    HiddenTools = "hidden-tools",
    /// A failure for want of a program is no result where the user has that program.
    DiscoveredPrograms = "discovered-programs",
    /// What building may call is in the key, and so is that it is not there.
    AbsentTools = "absent-tools",
    /// What products were made from counts as read by every run that is given them.
    ProductReads = "product-reads",
    /// Products of the workspace's own packages are removed where cargo would trust them without reason.
    MemberUnits = "member-units",
    /// A failure that products of the user's own may have brought about is no verdict.
    SeedsAreDoubted = "seeds-doubted",

    // What a Dagger engine is trusted with.
    /// A command in a container does not see what the engine puts into every environment.
    EngineEnvHidden = "engine-env-hidden",
    /// The engine remembers no run that a signal may have ended.
    SignalsAreForgotten = "signals-are-forgotten",
    /// Nor one of a program that is not there.
    MissingIsForgotten = "missing-is-forgotten",
    /// Nor one whose time was up.
    TimeoutsAreForgotten = "timeouts-are-forgotten",
    /// Files that a container's command makes have the modes they have everywhere.
    ContainerUmask = "container-umask",
    /// Whether something ran is told by a nonce.
    NonceTells = "nonce-tells",
    /// Captured output comes as bytes, not as the engine's idea of text.
    OutputAsBytes = "output-as-bytes",
    /// What is uploaded is a copy of what was hashed.
    StagedUpload = "staged-upload",
    /// A run that must be another one is one for the engine, too.
    RunAgain = "run-again",
    /// A place that is kept is made what was uploaded by content, whatever its times say.
    KeptByContent = "kept-by-content",
}

impl Rule {
    /// Whether the rule is in force: always, unless debug assertions are on and it was turned off.
    #[must_use]
    #[inline]
    pub(crate) fn holds(self) -> bool {
        !cfg!(debug_assertions) || !off::names().iter().any(|name| name == self.name())
    }
}

/// The variable by which a process of this program's own has the same rules; none if all hold.
#[must_use]
pub(crate) fn inherited() -> Option<(&'static str, std::ffi::OsString)> {
    let names = std::env::var_os(off::VARIABLE).filter(|_| cfg!(debug_assertions));
    names.map(|names| (off::VARIABLE, names))
}

mod off {
    use std::sync::OnceLock;

    pub(super) const VARIABLE: &str = "DAGCACHE_WITHOUT";

    /// The rules that were turned off.
    pub(super) fn names() -> &'static [String] {
        static NAMES: OnceLock<Vec<String>> = OnceLock::new();
        NAMES.get_or_init(|| {
            let names = std::env::var(VARIABLE).unwrap_or_default();
            names.split(',').map(str::to_owned).collect()
        })
    }
}
