//! The client's half of every authentication PostgreSQL 10 to 18 offers, except GSS, SSPI and OAuth.

use postgres_protocol::authentication::{md5_hash, sasl};

use super::AuthError;
use super::mechanism::{self, Choice};
use crate::conninfo::{AuthMethod, ChannelBinding, ConnectOptions, Host, Password, RequireAuth};

/// What SCRAM can bind to (`tls-server-end-point`, RFC 5929).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEndPoint {
    /// The connection is not encrypted.
    NoTls,
    /// It is, but the certificate's signature algorithm names no hash (Ed25519).
    Unavailable,
    /// The hash of the server's certificate.
    Hash(Vec<u8>),
}

/// What to do after a message.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthStep {
    /// Send these bytes, a whole `p` message, and read on.
    Send(Vec<u8>),
    /// Nothing to send, read on.
    Continue,
    /// Authenticated.
    Done,
}

impl std::fmt::Debug for AuthStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The bytes may be a password in clear.
        match self {
            Self::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            Self::Continue => f.write_str("Continue"),
            Self::Done => f.write_str("Done"),
        }
    }
}

enum State {
    Start,
    /// A password went out; the server answers with success or an error.
    Answered,
    ScramFirst(Box<sasl::ScramSha256>),
    ScramFinal(Box<sasl::ScramSha256>),
    ScramVerified,
    Finished,
}

/// One authentication exchange.
#[expect(missing_debug_implementations, reason = "it holds the password")]
pub struct Authenticator {
    user: String,
    password: Option<Password>,
    channel_binding: ChannelBinding,
    require_auth: RequireAuth,
    end_point: ServerEndPoint,
    state: State,
    bound: bool,
    password_requested: bool,
}

impl Authenticator {
    /// An exchange with one host of the options.
    pub fn new(
        options: &ConnectOptions,
        host: &Host,
        physical_replication: bool,
        end_point: ServerEndPoint,
    ) -> Self {
        Self {
            user: options.user().to_owned(),
            password: options.password(host, physical_replication),
            channel_binding: options.channel_binding(),
            require_auth: options.require_auth().clone(),
            end_point,
            state: State::Start,
            bound: false,
            password_requested: false,
        }
    }

    /// Whether the server asked for a password. If so and it then refuses, asking again without TLS is pointless.
    pub fn password_requested(&self) -> bool {
        self.password_requested
    }

    /// Takes the body of an `R` message (without type and length) and says what to do.
    ///
    /// # Errors
    /// Whatever makes it unsafe or impossible to go on; the connection is then to be closed.
    pub fn receive(&mut self, body: &[u8]) -> Result<AuthStep, AuthError> {
        let (code, rest) =
            body.split_first_chunk::<4>().ok_or(AuthError::Malformed { problem: "no code" })?;
        let code = u32::from_be_bytes(*code);
        match (code, std::mem::replace(&mut self.state, State::Finished)) {
            (0, state) => self.finish(&state),
            (3, State::Start) => {
                self.demand(AuthMethod::Password, "a cleartext password")?;
                let answer = password_message(self.password()?.expose())?;
                self.state = State::Answered;
                Ok(answer)
            }
            (5, State::Start) => {
                self.demand(AuthMethod::Md5, "a hashed password")?;
                let salt =
                    <[u8; 4]>::try_from(rest).map_err(|_| AuthError::Malformed { problem: "salt of md5" })?;
                let user = self.user.clone();
                let hash = md5_hash(user.as_bytes(), self.password()?.expose(), salt);
                self.state = State::Answered;
                password_message(hash.as_bytes())
            }
            (10, State::Start) => {
                self.demand_method(AuthMethod::ScramSha256, "SASL authentication")?;
                self.begin_sasl(rest)
            }
            (11, State::ScramFirst(mut scram)) => {
                check_server_first(rest, scram.message())?;
                scram.update(rest).map_err(|source| AuthError::Scram { source })?;
                let answer = message(scram.message())?;
                self.state = State::ScramFinal(scram);
                Ok(answer)
            }
            (12, State::ScramFinal(mut scram)) => {
                scram.finish(rest).map_err(|source| AuthError::Scram { source })?;
                self.state = State::ScramVerified;
                Ok(AuthStep::Continue)
            }
            (3 | 5 | 10 | 11 | 12, _) => Err(AuthError::OutOfOrder { code }),
            (7 | 8, _) => Err(AuthError::Unsupported { method: String::from("gss") }),
            (9, _) => Err(AuthError::Unsupported { method: String::from("sspi") }),
            (2, _) => Err(AuthError::Unsupported { method: String::from("kerberos v5") }),
            _ => Err(AuthError::Unsupported { method: code.to_string() }),
        }
    }

    fn finish(&self, state: &State) -> Result<AuthStep, AuthError> {
        match state {
            State::Start => {
                self.demand_method(AuthMethod::None, "no authentication")?;
            }
            State::Answered | State::ScramVerified => {}
            State::ScramFirst(_) | State::ScramFinal(_) => return Err(AuthError::ServerNotVerified),
            State::Finished => return Err(AuthError::OutOfOrder { code: 0 }),
        }
        if self.channel_binding == ChannelBinding::Require && !self.bound {
            let problem = "server authenticated client without channel binding";
            return Err(AuthError::ChannelBinding { problem });
        }
        Ok(AuthStep::Done)
    }

    fn begin_sasl(&mut self, offered: &[u8]) -> Result<AuthStep, AuthError> {
        let Choice { name, binding, bound } =
            mechanism::choose(offered, self.channel_binding, &self.end_point)?;
        let scram = sasl::ScramSha256::new(self.password()?.expose(), binding);
        let first = scram.message();
        let length = u32::try_from(first.len()).map_err(|_| AuthError::Malformed { problem: "length" })?;
        let mut body = Vec::with_capacity(name.len() + 5 + first.len());
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(first);
        self.bound = bound;
        self.state = State::ScramFirst(Box::new(scram));
        message(&body)
    }

    fn password(&mut self) -> Result<&Password, AuthError> {
        self.password_requested = true;
        self.password.as_ref().ok_or(AuthError::NoPassword)
    }

    /// Neither clear text nor md5 can be bound to the channel: with `channel_binding=require` nothing is sent.
    fn demand(&self, method: AuthMethod, requested: &'static str) -> Result<(), AuthError> {
        if self.channel_binding == ChannelBinding::Require {
            let problem = "not supported by server's authentication request";
            return Err(AuthError::ChannelBinding { problem });
        }
        self.demand_method(method, requested)
    }

    fn demand_method(&self, method: AuthMethod, requested: &'static str) -> Result<(), AuthError> {
        if self.require_auth.allows(method) {
            return Ok(());
        }
        Err(AuthError::NotAllowed { requirement: self.require_auth.as_str().to_owned(), requested })
    }
}

/// What `postgres_protocol` leaves to its caller: the server must add to our nonce, salt us, and iterate at least once.
fn check_server_first(message: &[u8], client_first: &[u8]) -> Result<(), AuthError> {
    let refuse = |problem| Err(AuthError::Malformed { problem });
    let mut fields = message.split(|byte| *byte == b',');
    // The client's message ends with `r=` and its nonce, which has no comma in it.
    let ours = client_first.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    if !fields.next().is_some_and(|nonce| nonce.len() > ours.len() && nonce.starts_with(ours)) {
        return refuse("SCRAM nonce");
    }
    if !fields.next().is_some_and(|salt| salt.starts_with(b"s=") && salt.len() > 2) {
        return refuse("SCRAM salt");
    }
    let iterations = fields.next().and_then(|field| field.strip_prefix(b"i="));
    match iterations
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u32>().ok())
    {
        Some(count) if count > 0 => Ok(()),
        _ => refuse("SCRAM iteration count"),
    }
}

fn password_message(password: &[u8]) -> Result<AuthStep, AuthError> {
    if password.contains(&0) {
        return Err(AuthError::Malformed { problem: "zero byte in the password" });
    }
    let mut body = Vec::with_capacity(password.len() + 1);
    body.extend_from_slice(password);
    body.push(0);
    message(&body)
}

fn message(body: &[u8]) -> Result<AuthStep, AuthError> {
    let length = u32::try_from(body.len() + 4).map_err(|_| AuthError::Malformed { problem: "length" })?;
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(b'p');
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    Ok(AuthStep::Send(bytes))
}
