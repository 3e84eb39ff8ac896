//! A relay in the wrong hands: a program that holds the real key which signs tokens, and says to the agent
//! what it likes. After each try the data is read again on a connection of its own.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use futures::{SinkExt as _, StreamExt as _};
use secondkey::clock::SystemClock;
use secondkey::core::approval::sshsig::SshSig;
use secondkey::core::approval::{APPROVAL, Backing, Purpose, SignedVerdict};
use secondkey::core::handshake::{Handshake, Hex32, Side};
use secondkey::core::ids::{AgentId, RequestId, TokenId};
use secondkey::core::limits::Limits;
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::refusal::Code;
use secondkey::core::statement::Effect;
use secondkey::core::time::Clock as _;
use secondkey::core::token::sign::key_id;
use secondkey::core::token::{Claims, TOKEN_TYPE};
use secondkey::core::work::{Digest, Work, canonical_json};
use secondkey::wire::Answer;
use secondkey::wire::fleet::{
    Challenge, FromAgent, FromRelay, Hello, Order, Question, Reply, Sent,
};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::rig::Fleet;

/// What is wrong with a token.
type Change = fn(&mut Claims);

/// The relay that the agent dials now.
struct Hostile {
    fleet: Fleet,
    key: SigningKey,
    listener: TcpListener,
}

/// One connection of the agent's, after a handshake that went well.
struct Line {
    socket: WebSocketStream<TcpStream>,
    agent: AgentId,
    calls: u64,
}

impl Hostile {
    /// Takes the place of a relay that an agent has joined, with its key or another one.
    async fn with(key: impl FnOnce(&Fleet) -> SigningKey) -> Self {
        let fleet = Fleet::start().await;
        let key = key(&fleet);
        Self::in_place_of(fleet, key).await
    }

    async fn in_place_of(mut fleet: Fleet, key: SigningKey) -> Self {
        fleet.kill_relay();
        let listener = TcpListener::bind(("127.0.0.1", fleet.port)).await.unwrap();
        Self {
            fleet,
            key,
            listener,
        }
    }

    /// Shakes hands with the agent; `None` if it leaves before it has proven anything.
    async fn meet(&self) -> Option<Line> {
        let accepted = timeout(Duration::from_mins(1), self.listener.accept()).await;
        let (stream, _) = accepted.expect("the agent comes back").unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        let Some(FromAgent::Hello(Hello {
            agent, key, nonce, ..
        })) = hear(&mut socket).await
        else {
            panic!("no hello");
        };
        let handshake = Handshake {
            agent: &agent,
            agent_key: key,
            relay_key: Hex32::of_key(&self.key.verifying_key()),
            agent_nonce: nonce,
            relay_nonce: Hex32::new([9; 32]),
        };
        let challenge = Challenge {
            follows: Vec::new(),
            key: handshake.relay_key,
            nonce: handshake.relay_nonce,
            signature: handshake.sign(Side::Relay, &self.key),
        };
        say(&mut socket, &FromRelay::Challenge(challenge)).await;
        let Some(FromAgent::Proof(proof)) = hear(&mut socket).await else {
            return None;
        };
        assert!(handshake.is_signed(Side::Agent, &proof.signature));
        assert_eq!(proof.join, None, "the join token is said to nobody again");
        let workspace = "local".to_owned();
        say(&mut socket, &FromRelay::Welcome { workspace }).await;
        assert!(matches!(hear(&mut socket).await, Some(FromAgent::Ready(_))));
        Some(Line {
            socket,
            agent,
            calls: 0,
        })
    }

    /// Everything that a token for this work can say, as a friendly relay would say it.
    fn claims(&self, line: &Line, work: &Work, effect: Effect) -> Claims {
        let now = SystemClock.now().unix_ms();
        let writes = if effect == Effect::Read {
            vec![]
        } else {
            vec!["orders".to_owned()]
        };
        Claims {
            jti: TokenId::new(1, random()),
            request: RequestId::new(1, random()),
            iss: key_id(&self.key.verifying_key()),
            aud: line.agent.clone(),
            target: "shop".into(),
            sub: Principal::new(PrincipalKind::Ai, "ada/raw"),
            purpose: Purpose::Run,
            work: work.digest(),
            effect,
            reads: vec!["orders".to_owned()],
            writes,
            limits: Limits::DEFAULT,
            not_before_ms: now - 10,
            expires_ms: now + 50_000,
            document: None,
            approvals: vec![],
        }
    }

    fn sign(&self, claims: &Claims) -> String {
        signed(&self.key, claims)
    }

    fn orders(&self) -> i64 {
        let database = rusqlite::Connection::open(self.fleet.shop()).unwrap();
        let count = database.query_row("SELECT count(*) FROM orders", [], |row| row.get(0));
        count.unwrap()
    }
}

impl Line {
    /// Gives an order, and the refusal that it met; `None` where it was run.
    async fn order(
        &mut self,
        (claims, token): (&Claims, String),
        work: &Work,
        backing: Option<Backing>,
    ) -> Option<Code> {
        self.calls += 1;
        let order = Order {
            request: claims.request.clone(),
            token_id: claims.jti.clone(),
            token,
            work: Sent::from(work),
            backing,
        };
        let ask = FromRelay::Ask {
            call: self.calls,
            question: Box::new(Question::Order(Box::new(order))),
        };
        say(&mut self.socket, &ask).await;
        loop {
            let heard = hear(&mut self.socket).await.expect("the agent goes on");
            let FromAgent::Answer { call, answer } = heard else {
                continue;
            };
            assert_eq!(call, self.calls);
            return match *answer {
                Answer::Ok(Reply::Ran(_)) => None,
                Answer::Ok(Reply::NotRun { refusal, .. }) | Answer::Refused(refusal) => {
                    Some(refusal.code)
                }
                Answer::Ok(other) => panic!("{other:?}"),
            };
        }
    }
}

fn signed(key: &SigningKey, claims: &Claims) -> String {
    let kid = key_id(&key.verifying_key());
    let header = json!({"alg": "EdDSA", "kid": kid, "typ": TOKEN_TYPE});
    let [header, payload] =
        [canonical_json(&header), canonical_json(claims)].map(|part| BASE64URL.encode(part));
    let input = format!("{header}.{payload}");
    let signature = BASE64URL.encode(key.sign(input.as_bytes()).to_bytes());
    format!("{input}.{signature}")
}

fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn the_relays(fleet: &Fleet) -> SigningKey {
    let pem = std::fs::read_to_string(fleet.path("relay/keys/token-0001.pem")).unwrap();
    SigningKey::from_pkcs8_pem(&pem).unwrap()
}

async fn say(socket: &mut WebSocketStream<TcpStream>, what: &FromRelay) {
    let text = serde_json::to_string(what).unwrap();
    socket.send(Message::text(text)).await.unwrap();
}

/// The next message that is no sign of life; `None` at the end.
async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Option<FromAgent> {
    loop {
        let heard = timeout(Duration::from_secs(30), socket.next()).await;
        match heard.expect("a message in time") {
            Some(Ok(Message::Text(text))) => {
                let said = serde_json::from_str(&text).unwrap();
                if !matches!(said, FromAgent::Beat { .. }) {
                    return Some(said);
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return None,
        }
    }
}

fn work(text: &str) -> Work {
    Work::Sql {
        text: text.into(),
        params: vec![],
        salt: [0; 16],
    }
}

#[tokio::test]
async fn a_relay_with_the_real_key_gets_no_more_than_the_agents_own_policy_allows() {
    let hostile = Hostile::with(the_relays).await;
    let mut line = hostile.meet().await.expect("it knows this key");
    let before = hostile.orders();
    let delete = work("DELETE FROM orders");
    let read = work("SELECT count(*) FROM orders");

    // A change on nobody's signature, whatever the token calls it.
    for effect in [Effect::Read, Effect::Write, Effect::Admin] {
        let mut claims = hostile.claims(&line, &delete, effect);
        claims.writes = vec!["orders".to_owned()];
        let token = hostile.sign(&claims);
        let code = line.order((&claims, token), &delete, None).await;
        assert!(
            matches!(
                code,
                Some(Code::ApprovalRequired | Code::ClassificationMismatch)
            ),
            "{effect}: {code:?}"
        );
        assert_eq!(hostile.orders(), before);
    }

    // A verdict that it has signed itself, over a document of its own.
    let own = SigningKey::from_bytes(&[66; 32]);
    let verdict = SignedVerdict {
        verdict: "approve".into(),
        signature: SshSig::sign_ed25519(&own, APPROVAL, b"approve")
            .unwrap()
            .armored(),
    };
    let backing = Backing {
        document: "{}".into(),
        verdicts: vec![verdict],
    };
    let mut claims = hostile.claims(&line, &delete, Effect::Write);
    claims.document = Some(backing.document_digest());
    claims.approvals = backing.verdict_digests();
    let token = hostile.sign(&claims);
    let code = line.order((&claims, token), &delete, Some(backing)).await;
    assert_eq!(code, Some(Code::ApprovalRefused));
    assert_eq!(hostile.orders(), before);

    // Tokens that are not for this agent, this work, this time, or of this key.
    let wrong: [(&str, Change); 4] = [
        ("audience", |claims| claims.aud = AgentId::new(1, [1; 10])),
        ("expired", |claims| claims.expires_ms = claims.not_before_ms),
        ("early", |claims| claims.not_before_ms += 40_000),
        ("work", |claims| claims.work = work("SELECT 2").digest()),
    ];
    for (what, change) in wrong {
        let mut claims = hostile.claims(&line, &read, Effect::Read);
        change(&mut claims);
        let token = hostile.sign(&claims);
        let code = line.order((&claims, token), &read, None).await;
        assert_eq!(code, Some(Code::TokenRefused), "{what}");
    }
    let claims = hostile.claims(&line, &read, Effect::Read);
    let forged = signed(&own, &claims);
    let code = line.order((&claims, forged), &read, None).await;
    assert_eq!(code, Some(Code::TokenRefused));

    // A read that the agent's policy allows runs, and no request runs twice.
    let token = hostile.sign(&claims);
    assert_eq!(
        line.order((&claims, token.clone()), &read, None).await,
        None
    );
    let code = line.order((&claims, token), &read, None).await;
    assert_eq!(code, Some(Code::TokenRefused), "replayed");
    let mut again = claims.clone();
    again.jti = TokenId::new(1, random());
    let token = hostile.sign(&again);
    let code = line.order((&again, token), &read, None).await;
    assert_eq!(
        code,
        Some(Code::TokenRefused),
        "another token for the same request"
    );
    assert_eq!(hostile.orders(), before);

    let log = hostile.fleet.run(&["audit", "list", "-n", "200"], "agent");
    let refused = log
        .lines()
        .filter(|line| line.contains("execution.refused"));
    assert!(refused.count() >= 11, "{log}");
}

#[tokio::test]
async fn whoever_does_not_hold_the_relays_key_hears_nothing_of_an_agent() {
    let hostile = Hostile::with(|_| SigningKey::from_bytes(&[66; 32])).await;
    assert!(hostile.meet().await.is_none(), "no proof, and no targets");
}

#[tokio::test]
async fn a_relay_whose_clock_is_wrong_is_told_so() {
    let hostile = Hostile::with(the_relays).await;
    let mut line = hostile.meet().await.unwrap();
    let now = SystemClock.now().unix_ms();
    let beaten = FromRelay::Beaten {
        sent_ms: now,
        now_ms: now + 60_000,
    };
    say(&mut line.socket, &beaten).await;
    let read = work("SELECT count(*) FROM orders");
    let claims = hostile.claims(&line, &read, Effect::Read);
    let token = hostile.sign(&claims);
    let code = line.order((&claims, token), &read, None).await;
    assert_eq!(code, Some(Code::ClockSkew));
}

const CAPABILITIES: &str = "\
capabilities:
  one_order:
    description: One order
    sql: select id from orders where id = :id
    params: { id: { type: integer, required: true, minimum: 1 } }
    policy: { rate_limit: { requests: 2, per: 1h } }
    result: { id: { type: integer } }
  drop_orders:
    description: Deletes orders
    sql: delete from orders where id >= :id
    params: { id: { type: integer, required: true } }
    policy: { readonly: false, approval: true }
";

/// A name means what the agent's own file says, whatever a relay with the real key calls it.
#[tokio::test]
async fn a_relay_with_the_real_key_cannot_change_what_a_capability_means() {
    let mut fleet = Fleet::start().await;
    let allow = "allow = [\"read\", \"write\"]\nonly_capabilities = true\n";
    fleet.start_agent_offering(CAPABILITIES, allow);
    let key = the_relays(&fleet);
    let hostile = Hostile::in_place_of(fleet, key).await;
    let mut line = hostile.meet().await.expect("it knows this key");
    let offers = loop {
        if let Some(FromAgent::Offers { offers, .. }) = hear(&mut line.socket).await {
            break offers;
        }
    };
    let told = serde_json::to_string(&offers).unwrap();
    assert!(
        !told.contains("delete from") && !told.contains("select id"),
        "{told}"
    );
    let bundle = offers.first().unwrap().said.bundle;
    let call = |name: &str, bundle, params| Work::capability(name, bundle, vec![params], [0; 16]);
    let before = hostile.orders();

    let other = Digest::of(&[b"another file"]);
    let cases = [
        // The same name, of a file that this agent does not have.
        (
            call("one_order", other, json!({"id": 1})),
            Effect::Read,
            Code::UnknownCapability,
        ),
        (
            call("no_such", bundle, json!({})),
            Effect::Read,
            Code::UnknownCapability,
        ),
        // Values that the contract does not let in.
        (
            call("one_order", bundle, json!({"id": 0})),
            Effect::Read,
            Code::InvalidParameter,
        ),
        (
            call("one_order", bundle, json!({"id": 1, "sql": "x"})),
            Effect::Read,
            Code::InvalidParameter,
        ),
        // A change that is called a read, and one on nobody's signature where the file wants one.
        (
            call("drop_orders", bundle, json!({"id": 0})),
            Effect::Read,
            Code::ClassificationMismatch,
        ),
        (
            call("drop_orders", bundle, json!({"id": 0})),
            Effect::Write,
            Code::ApprovalRequired,
        ),
        (
            call("drop_orders", bundle, json!({"id": 0})),
            Effect::Admin,
            Code::ApprovalRequired,
        ),
        // A statement of its own.
        (
            work("SELECT count(*) FROM orders"),
            Effect::Read,
            Code::Forbidden,
        ),
    ];
    for (work, effect, expected) in cases {
        let claims = hostile.claims(&line, &work, effect);
        let token = hostile.sign(&claims);
        let code = line.order((&claims, token), &work, None).await;
        assert_eq!(code, Some(expected), "{work:?} as {effect}");
        assert_eq!(hostile.orders(), before);
    }
    // A token for one call does not run another.
    let one = call("one_order", bundle, json!({"id": 1}));
    let claims = hostile.claims(&line, &one, Effect::Read);
    let token = hostile.sign(&claims);
    let two = call("one_order", bundle, json!({"id": 2}));
    let code = line.order((&claims, token.clone()), &two, None).await;
    assert_eq!(code, Some(Code::TokenRefused));
    assert_eq!(line.order((&claims, token), &one, None).await, None);
    // Two calls in an hour, and no relay makes it more.
    for expected in [None, Some(Code::LimitReached)] {
        let claims = hostile.claims(&line, &one, Effect::Read);
        let token = hostile.sign(&claims);
        assert_eq!(line.order((&claims, token), &one, None).await, expected);
    }
    assert_eq!(hostile.orders(), before);
}

#[tokio::test]
async fn messages_that_come_twice_or_in_another_order_run_nothing_twice() {
    let hostile = Hostile::with(the_relays).await;
    let mut line = hostile.meet().await.unwrap();
    let read = work("SELECT count(*) FROM orders");
    let claims = hostile.claims(&line, &read, Effect::Read);
    // What nobody has asked for: an end of a call that has not begun, and of a request that is not there.
    say(
        &mut line.socket,
        &FromRelay::Cancel {
            call: 3,
            stop: false,
        },
    )
    .await;
    let request = claims.request.clone();
    say(&mut line.socket, &FromRelay::Recorded { request }).await;
    // The same order many times at once, under calls of its own and under one that is taken, half of them on
    // another token.
    let calls = [1, 2, 3, 4, 5, 6, 6, 6];
    for (number, call) in calls.into_iter().enumerate() {
        let mut claims = claims.clone();
        if number % 2 == 1 {
            claims.jti = TokenId::new(1, random());
        }
        let order = Order {
            request: claims.request.clone(),
            token_id: claims.jti.clone(),
            token: hostile.sign(&claims),
            work: Sent::from(&read),
            backing: None,
        };
        let ask = FromRelay::Ask {
            call,
            question: Box::new(Question::Order(Box::new(order))),
        };
        say(&mut line.socket, &ask).await;
    }
    let (mut ran, mut refused) = (0, 0);
    while ran + refused < calls.len() {
        let heard = hear(&mut line.socket).await.expect("the agent goes on");
        let FromAgent::Answer { answer, .. } = heard else {
            continue;
        };
        match *answer {
            Answer::Ok(Reply::Ran(_)) => ran += 1,
            Answer::Ok(Reply::NotRun { refusal, .. }) | Answer::Refused(refusal) => {
                assert_eq!(refusal.code, Code::TokenRefused, "{refusal}");
                refused += 1;
            }
            Answer::Ok(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((ran, refused), (1, calls.len() - 1));
    // An answer to a sign of life that overtakes a later one is no reason to leave.
    let now = SystemClock.now().unix_ms();
    for sent_ms in [now, now - 2_000] {
        let beaten = FromRelay::Beaten {
            sent_ms,
            now_ms: sent_ms,
        };
        say(&mut line.socket, &beaten).await;
    }
    let claims = hostile.claims(&line, &read, Effect::Read);
    let token = hostile.sign(&claims);
    assert_eq!(line.order((&claims, token), &read, None).await, None);
}
