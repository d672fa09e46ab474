//! The agent: answers the peer's checks and tracks the peer's address.

use std::time::{Duration, Instant};

use super::path::Path;
use super::{CandidatePair, Credentials};
use crate::stun::{Class, ErrorCode, IceRole, Message, MessageWriter, Method, StunError};

/// Consent has ended when no valid check came for this long. RFC 7675 section 5.1 allows 30 s;
/// peers check every 2.5 to 6 s, so that half of it means several checks in a row were lost.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(15);

/// The supported version of libwebrtc's short check.
const GOOG_PING_VERSION: u16 = 1;

/// Timeout of a new session for its first valid check.
pub const FIRST_CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// PRIORITY in checks of ours, which form no pair: that of a peer-reflexive candidate (RFC 8445
/// section 5.1.2.1).
const CHALLENGE_PRIORITY: u32 = (110 << 24) + (65_535 << 8) + 255;

/// Maximum number of valid pairs: one for each path that the peer has to the gateway. The oldest
/// that is neither sent on nor waited for is removed for a new one.
pub(super) const MAX_VALID_PAIRS: usize = 8;

/// A lite agent with one component: everything is multiplexed on it (RFC 8834 section 4.5).
///
/// ```text
///                 valid check                    valid check
///   (no address) ------------> (selected: first) ----------> unchanged
///                                                + USE-CANDIDATE
///                                                ----------> (selected: that pair)
/// ```
///
/// The first pair with a valid check is used at once, since the peer takes DTLS and media on each
/// pair that works, and a nomination may be another round trip away. From then on only a valid
/// check with USE-CANDIDATE moves the selected pair: neither a check without, nor DTLS or RTP from
/// elsewhere. A later nomination moves it again, so that a viewer can change networks.
///
/// **Proof.** A check can have a forged source. An address is sent little until somebody there has
/// proved to receive it (see `path`): each valid check from an unproven one is answered, and
/// challenged by a check of ours, [`IceLite::poll_challenge`]. A pair that is nominated while it is
/// unproven is selected as soon as it is proven, a round trip later; until then the previous proven
/// pair carries the media, so that a moving viewer misses nothing that still arrives there.
///
/// **Restart.** [`IceLite::restart`] starts a generation with new credentials. The previous one
/// stays valid until the peer has nominated a pair of the new one (RFC 8445 section 9), so that
/// media always has an address.
///
/// **Strangers.** A request that does not name the session (48 random bits) or has no FINGERPRINT
/// gets no answer. A request that names the session without a valid signature gets the error that
/// RFC 8489 section 9.1.3 requires. No answer is longer than its request, so reflecting one at a
/// third party is not worthwhile.
///
/// Call [`IceLite::handle_stun`] with each STUN datagram, and drop the session at
/// [`IceLite::poll_timeout`].
#[derive(Debug)]
pub struct IceLite {
    current: Generation,
    /// The generation before a restart, until the peer has nominated a pair of the current one.
    previous: Option<Generation>,
    created: Instant,
    last_valid_check: Option<Instant>,
    selected: Option<CandidatePair>,
    nominated: bool,
    /// True if the peer has announced support of the short check.
    goog_ping: bool,
    /// Pairs with a valid check, the oldest first; at most [`MAX_VALID_PAIRS`].
    paths: Vec<Path>,
    /// The nominated pair that is selected once it is proven.
    awaited: Option<CandidatePair>,
}

/// The outcome of a STUN datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an answered request has a response to send"]
pub enum IceOutcome {
    /// The check was valid: send the response back to where the request came from.
    Valid(Check),
    /// The request cannot be granted: send the error response.
    Refused {
        /// Its error code: 400, 401, 420 or 487.
        code: u16,
    },
    /// The peer has answered a check of ours, so the pair is proven. Nothing needs to be sent.
    Proven {
        /// The pair was waited for, and has become the selected one.
        selected: bool,
        /// The round trip, if this response is the one that has proved the pair.
        round_trip: Option<Duration>,
    },
    /// Nothing needs to be sent.
    Dropped(DropReason),
}

/// The effects of a valid check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The pair of this check has become the selected one: send there from now on.
    pub selected: bool,
    /// The peer nominates this pair.
    pub nominated: bool,
    /// The check came on the selected pair, so that consent is good for another
    /// [`CONSENT_TIMEOUT`].
    pub consent: bool,
}

/// The reason why a STUN datagram was dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// No well-formed STUN message.
    Malformed(StunError),
    /// A Binding indication: a keepalive, which has no answer and no effect (RFC 8445 section 11).
    Indication,
    /// Neither a supported request nor a response.
    NotBindingRequest,
    /// A response that is not to a check of ours on this pair, or not signed with the peer's
    /// password.
    NoAnswer,
    /// No FINGERPRINT, which checks have to carry (RFC 8445 section 7.1).
    NoFingerprint,
    /// USERNAME is missing or does not name this session.
    Username,
    /// The short check is not signed with our password, or no full check came on its pair.
    GoogPing,
}

impl IceLite {
    /// Creates an agent for the session whose answer carried `local` and whose offer carried
    /// `remote`.
    #[must_use]
    pub fn new(now: Instant, local: Credentials, remote: Credentials) -> Self {
        Self {
            current: Generation::new(local, remote),
            previous: None,
            created: now,
            last_valid_check: None,
            selected: None,
            nominated: false,
            goog_ping: false,
            paths: Vec::new(),
            awaited: None,
        }
    }

    /// Starts a new generation: checks under these credentials are valid from now on, and those
    /// under the old credentials until the peer nominates a pair of the new generation (RFC 8445
    /// section 9). A restart before that replaces the unfinished one.
    pub fn restart(&mut self, local: Credentials, remote: Credentials) {
        let next = Generation::new(local, remote);
        let last = std::mem::replace(&mut self.current, next);
        // During an unfinished restart, the older generation carries the media.
        self.previous.get_or_insert(last);
    }

    /// Handles a STUN datagram. If the outcome is [`IceOutcome::Valid`] or [`IceOutcome::Refused`],
    /// `response` holds the response to send back on `pair`; its previous content is lost.
    ///
    /// A repeated request gets the same response again: nothing but a restart changes it.
    pub fn handle_stun(
        &mut self,
        now: Instant,
        pair: CandidatePair,
        datagram: &[u8],
        response: &mut Vec<u8>,
    ) -> IceOutcome {
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(error) => return IceOutcome::Dropped(DropReason::Malformed(error)),
        };
        let outcome = match (message.class, message.method) {
            (Class::Request, Method::BINDING) => self.handle_check(now, pair, &message, response),
            (Class::Request, Method::GOOG_PING) => {
                self.handle_goog_ping(now, pair, &message, response)
            }
            (Class::Indication, Method::BINDING) => IceOutcome::Dropped(DropReason::Indication),
            (Class::Success, Method::BINDING) => self.handle_answer(now, pair, &message),
            _ => IceOutcome::Dropped(DropReason::NotBindingRequest),
        };
        if let IceOutcome::Valid(_) = outcome
            && let Some(path) = self.path_mut(pair)
        {
            path.note_received(datagram.len());
            path.spend(response.len());
        }
        outcome
    }

    /// Returns the pair to send on, as soon as there is one.
    #[must_use]
    pub fn selected_pair(&self) -> Option<CandidatePair> {
        self.selected
    }

    /// Returns whether the selected pair is one that the peer nominated.
    #[must_use]
    pub fn is_nominated(&self) -> bool {
        self.nominated
    }

    /// Returns whether datagrams on this pair are accepted: a valid check came on it.
    #[must_use]
    pub fn is_valid(&self, pair: CandidatePair) -> bool {
        self.path(pair).is_some()
    }

    /// Returns whether the peer has proved that it receives on this pair.
    #[must_use]
    pub fn is_proven(&self, pair: CandidatePair) -> bool {
        self.path(pair).is_some_and(Path::is_proven)
    }

    /// Records that the pair is proven by other means than the response to a check of ours. Returns
    /// whether this makes it the selected one.
    pub fn prove(&mut self, now: Instant, pair: CandidatePair) -> bool {
        let Some(path) = self.path_mut(pair) else {
            return false;
        };
        path.prove();
        let is_awaited = self.awaited == Some(pair);
        if is_awaited {
            self.awaited = None;
            self.selected = Some(pair);
            self.nominated = true;
            self.last_valid_check = Some(now);
        }
        is_awaited
    }

    /// Records bytes received on a pair; they count only if the pair is valid.
    pub fn note_received(&mut self, pair: CandidatePair, bytes: usize) {
        if let Some(path) = self.path_mut(pair) {
            path.note_received(bytes);
        }
    }

    /// Returns whether `bytes` may be sent on a pair, and counts them as sent: any number if it is
    /// proven, else within [`AMPLIFICATION_LIMIT`](super::AMPLIFICATION_LIMIT).
    pub fn spend(&mut self, pair: CandidatePair, bytes: usize) -> bool {
        self.path_mut(pair).is_some_and(|path| path.spend(bytes))
    }

    /// Writes a check of ours for a pair that is not proven, if one is due and may be sent.
    ///
    /// Call it after a valid check on the pair.
    pub fn poll_challenge(
        &mut self,
        now: Instant,
        pair: CandidatePair,
        request: &mut Vec<u8>,
    ) -> bool {
        let Some(path) = self.paths.iter_mut().find(|path| path.pair == pair) else {
            return false;
        };
        let Some(transaction) = path.poll_challenge(now) else {
            return false;
        };
        let Generation { local, remote, .. } = &self.current;
        MessageWriter::new(request, Class::Request, Method::BINDING, transaction)
            .username(&format!("{}:{}", remote.ufrag(), local.ufrag()))
            .ice_role(IceRole::Controlled(rand::random()))
            .priority(CHALLENGE_PRIORITY)
            .message_integrity(remote.password().as_bytes())
            .finish();
        let is_sent = path.spend(request.len());
        if is_sent {
            path.note_challenge(now);
        }
        is_sent
    }

    /// Returns the unproven pairs that wait for proof to be sent on: the selected one and the
    /// nominated one.
    pub fn unproven(&self) -> impl Iterator<Item = CandidatePair> + use<> {
        let unproven = |pair: Option<CandidatePair>| pair.filter(|pair| !self.is_proven(*pair));
        [unproven(self.selected), unproven(self.awaited)]
            .into_iter()
            .flatten()
    }

    fn path(&self, pair: CandidatePair) -> Option<&Path> {
        self.paths.iter().find(|path| path.pair == pair)
    }

    fn path_mut(&mut self, pair: CandidatePair) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.pair == pair)
    }

    /// Returns when the last valid check on the selected pair came.
    #[must_use]
    pub fn last_valid_check(&self) -> Option<Instant> {
        self.last_valid_check
    }

    /// Returns when something is due: the end of consent, or a check of ours.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let challenges = self
            .unproven()
            .filter_map(|pair| self.path(pair)?.challenge_due());
        challenges.fold(self.consent_ends(), Instant::min)
    }

    /// Returns when consent ends, if no valid check comes before.
    #[must_use]
    pub fn consent_ends(&self) -> Instant {
        match self.last_valid_check {
            Some(last) => last + CONSENT_TIMEOUT,
            None => self.created + FIRST_CHECK_TIMEOUT,
        }
    }

    /// Returns whether consent has ended, or never came (RFC 7675 section 5.1): nothing may be sent
    /// any more.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        now >= self.consent_ends()
    }

    fn handle_check(
        &mut self,
        now: Instant,
        pair: CandidatePair,
        request: &Message<'_>,
        response: &mut Vec<u8>,
    ) -> IceOutcome {
        // RFC 8489 section 6.3: messages that fail here are dropped silently, before other
        // validation.
        if !request.has_fingerprint {
            return IceOutcome::Dropped(DropReason::NoFingerprint);
        }
        let Some(generation) = self.named_by(request) else {
            return IceOutcome::Dropped(DropReason::Username);
        };
        if let Some(error) = generation.refusal(request) {
            generation.write_error(request, error, response);
            return IceOutcome::Refused { code: error.code };
        }
        let announces_goog_ping = request.goog_ping_version.is_some_and(|version| version > 0);
        let mut writer = MessageWriter::new(
            response,
            Class::Success,
            Method::BINDING,
            request.transaction,
        )
        .xor_mapped_address(pair.remote);
        if announces_goog_ping {
            writer = writer.goog_ping_version(GOOG_PING_VERSION);
        }
        writer
            .message_integrity(generation.local.password().as_bytes())
            .finish();
        let is_current = std::ptr::eq(generation, &self.current);
        self.goog_ping |= announces_goog_ping;
        let completes_restart =
            is_current && request.use_candidate && self.previous.take().is_some();
        let check = self.accept(now, pair, request.use_candidate);
        if completes_restart {
            // Pairs of the previous generation are no longer valid, except one that carries the
            // media until this one is proven.
            let kept = [Some(pair), self.selected];
            self.paths.retain(|path| kept.contains(&Some(path.pair)));
        }
        IceOutcome::Valid(check)
    }

    /// Returns a check in libwebrtc's short form: four bytes of HMAC and nothing else. The peer
    /// sends it when nothing has changed since its last full check, and only after both sides have
    /// said that they know it.
    ///
    /// It can only refresh consent: with so short a tag it must not add an address.
    fn handle_goog_ping(
        &mut self,
        now: Instant,
        pair: CandidatePair,
        request: &Message<'_>,
        response: &mut Vec<u8>,
    ) -> IceOutcome {
        let mut generations = std::iter::once(&self.current).chain(&self.previous);
        let signer = generations
            .find(|generation| request.verify_integrity_32(generation.local.password().as_bytes()));
        let Some(signer) = signer.filter(|_| self.goog_ping && self.is_valid(pair)) else {
            return IceOutcome::Dropped(DropReason::GoogPing);
        };
        MessageWriter::new(
            response,
            Class::Success,
            Method::GOOG_PING,
            request.transaction,
        )
        .finish_with_integrity_32(signer.local.password().as_bytes());
        IceOutcome::Valid(self.accept(now, pair, false))
    }

    /// Handles the response to a check of ours, which came from the address that the check went to.
    fn handle_answer(
        &mut self,
        now: Instant,
        pair: CandidatePair,
        answer: &Message<'_>,
    ) -> IceOutcome {
        let mut generations = std::iter::once(&self.current).chain(&self.previous);
        let is_signed = generations
            .any(|generation| answer.verify_integrity(generation.remote.password().as_bytes()));
        let is_asked = self
            .path(pair)
            .is_some_and(|path| path.is_answer(answer.transaction));
        if !is_signed || !is_asked {
            return IceOutcome::Dropped(DropReason::NoAnswer);
        }
        let path = self.path(pair).filter(|path| !path.is_proven());
        let round_trip = path.and_then(|path| path.round_trip(now));
        IceOutcome::Proven {
            selected: self.prove(now, pair),
            round_trip,
        }
    }

    /// Returns the generation that a request names by our fragment, the part of USERNAME before the
    /// colon.
    fn named_by(&self, request: &Message<'_>) -> Option<&Generation> {
        let (fragment, _) = request.username?.split_once(':')?;
        let mut generations = std::iter::once(&self.current).chain(&self.previous);
        generations.find(|generation| generation.local.ufrag() == fragment)
    }

    /// Handles a valid check as a lite agent (RFC 8445 section 7.3.2).
    fn accept(&mut self, now: Instant, pair: CandidatePair, nominated: bool) -> Check {
        if !self.is_valid(pair) {
            self.add_path(pair);
        }
        let selected = match self.selected {
            None => true,
            Some(current) if !nominated || current == pair => false,
            // Between two unproven pairs, the nominated one is preferred.
            Some(current) => self.is_proven(pair) || !self.is_proven(current),
        };
        if selected {
            self.selected = Some(pair);
        }
        if nominated {
            self.awaited = Some(pair).filter(|_| self.selected != Some(pair));
        }
        let consent = self.selected == Some(pair);
        if consent {
            self.last_valid_check = Some(now);
            self.nominated |= nominated;
        }
        Check {
            selected,
            nominated,
            consent,
        }
    }

    /// Adds a path; removes the oldest that is not needed if there are too many.
    fn add_path(&mut self, pair: CandidatePair) {
        if self.paths.len() >= MAX_VALID_PAIRS {
            let needed = [self.selected, self.awaited];
            let mut paths = self.paths.iter();
            if let Some(oldest) = paths.position(|path| !needed.contains(&Some(path.pair))) {
                self.paths.remove(oldest);
            }
        }
        self.paths.push(Path::new(pair));
    }
}

/// The credentials between two restarts.
#[derive(Debug)]
struct Generation {
    local: Credentials,
    /// The peer's credentials, which sign checks of ours.
    remote: Credentials,
    /// The expected USERNAME: both fragments, ours first (RFC 8445 section 7.1.2).
    username: String,
}

impl Generation {
    fn new(local: Credentials, remote: Credentials) -> Self {
        Self {
            username: format!("{}:{}", local.ufrag(), remote.ufrag()),
            local,
            remote,
        }
    }

    /// Returns the error for a request that names this generation and cannot be granted.
    fn refusal(&self, request: &Message<'_>) -> Option<ErrorCode<'static>> {
        if !request.has_integrity() {
            return Some(ErrorCode::BAD_REQUEST);
        }
        let is_signed = request.verify_integrity(self.local.password().as_bytes());
        if request.username != Some(self.username.as_str()) || !is_signed {
            return Some(ErrorCode::UNAUTHENTICATED);
        }
        if !request.unknown_attributes.is_empty() {
            return Some(ErrorCode::UNKNOWN_ATTRIBUTE);
        }
        match request.ice_role {
            // A lite agent is always controlled (RFC 8445 section 6.1.1), so the peer has to switch
            // (section 7.3.1.1).
            Some(IceRole::Controlled(_)) => Some(ErrorCode::ROLE_CONFLICT),
            _ => None,
        }
    }

    fn write_error(&self, request: &Message<'_>, error: ErrorCode<'_>, response: &mut Vec<u8>) {
        let mut writer =
            MessageWriter::new(response, Class::Error, Method::BINDING, request.transaction)
                .error_code(error);
        if error == ErrorCode::UNKNOWN_ATTRIBUTE {
            writer = writer.unknown_attributes(&request.unknown_attributes);
        }
        // RFC 8489 section 9.1.3: these two carry neither USERNAME nor MESSAGE-INTEGRITY.
        if error != ErrorCode::BAD_REQUEST && error != ErrorCode::UNAUTHENTICATED {
            writer = writer.message_integrity(self.local.password().as_bytes());
        }
        writer.finish();
    }
}
