//! The commands of a client (RTMP 1.0 sections 7.2.1 and 7.2.2, and those that encoders add).

use super::{
    Activity, Asked, ConnectRequest, EndReason, PublishRequest, Purpose, ServerSession,
    SessionError, SessionEvent, status,
};
use crate::proto::amf::{Value, object};
use crate::proto::link::COMMAND_CHUNK_STREAM;
use crate::proto::message::{Command, Message, UserControl};
use crate::proto::metadata::shown;
use crate::proto::name::Target;

/// Maximum number of message streams that a client may create, and that it may use at a time.
const MAX_STREAMS: u32 = 64;

/// The chunk stream of `onStatus` messages.
const STATUS_CHUNK_STREAM: u32 = 5;

impl ServerSession {
    /// Handles a command and responds to it.
    pub(super) fn handle_command(
        &mut self,
        command: &Command,
        stream_id: u32,
    ) -> Result<(), SessionError> {
        let name = command.name.as_str();
        if name == "connect" {
            self.connect(command);
            return Ok(());
        }
        if self.connection.is_none() {
            let command = shown(name).unwrap_or_default();
            return Err(SessionError::NotConnected { command });
        }
        match name {
            "createStream" => self.create_stream(command),
            "publish" => self.publish(command, stream_id),
            "FCPublish" => self.fc_publish(command),
            "FCUnpublish" => {
                self.send_result(command, Value::Undefined);
                if let Some(stream_id) = self.named(command.argument(0)) {
                    self.end(stream_id, EndReason::FcUnpublish);
                }
            }
            "deleteStream" => self.delete_stream(command),
            "closeStream" => self.end(stream_id, EndReason::CloseStream),
            "play" => self.play(command, stream_id),
            "play2" => self.play2(command, stream_id),
            "getStreamLength" => self.send_result(command, Value::Number(0.0)),
            // releaseStream asks to free the name from a dead publisher. Takeovers are decided at
            // `publish`.
            "releaseStream" | "_checkbw" | "FCSubscribe" => {
                self.send_result(command, Value::Undefined);
            }
            // Responses, and commands of players that need none.
            "_result" | "_error" | "onStatus" | "receiveAudio" | "receiveVideo" | "pause"
            | "seek" => {}
            unknown => self.refuse_unknown(command, unknown),
        }
        Ok(())
    }

    fn connect(&mut self, command: &Command) {
        let object = command.object();
        let text = |name| object.get(name).and_then(Value::as_str);
        let app = text("app").unwrap_or_default();
        let capabilities = object.get("capsEx").and_then(Value::as_number);
        let request = ConnectRequest {
            app: app.to_owned(),
            can_reconnect: capabilities.unwrap_or(0.0) as u32 & status::CAN_RECONNECT != 0,
            client: text("flashVer").and_then(shown),
            handshake: self.link.summary(),
        };
        let window = self.config.window_ack_size;
        self.link.send_control(&Message::WindowAckSize(window));
        self.link.send_control(&Message::SetPeerBandwidth {
            window,
            limit_type: 2,
        });
        if self.config.swf.is_some() {
            self.link
                .send_control(&Message::UserControl(UserControl::SwfRequest));
        }
        // ffmpeg over RTMPE encrypts the number in place and then uses it: any announced chunk size
        // breaks its session.
        if !self.link.summary().encrypted {
            self.link.send_chunk_size(self.config.chunk_size);
        }
        let enhanced = [
            "fourCcList",
            "videoFourCcInfoMap",
            "audioFourCcInfoMap",
            "capsEx",
        ]
        .iter()
        .any(|name| object.get(name).is_some());
        let encoding = object.get("objectEncoding").and_then(Value::as_number);
        self.send_answer(
            "_result",
            command,
            status::server_properties(enhanced),
            status::connect_success(encoding.unwrap_or(0.0)),
        );
        self.connection = Some(request.clone());
        self.events.push_back(SessionEvent::Connected(request));
    }

    /// Asks the client to reconnect. Returns `false` if the client does not support that.
    pub fn request_reconnect(&mut self) -> bool {
        let can_reconnect = self
            .connection
            .as_ref()
            .is_some_and(|request| request.can_reconnect);
        if can_reconnect {
            let info = status::reconnect_request();
            self.send_command(&Command::new("onStatus", 0.0, [Value::Null, info]));
        }
        can_reconnect
    }

    fn create_stream(&mut self, command: &Command) {
        if self.streams_created >= MAX_STREAMS {
            let info = status::error("NetConnection.Call.Failed", "Too many streams.");
            self.send_answer("_error", command, Value::Null, info);
            return;
        }
        self.streams_created += 1;
        self.send_result(command, f64::from(self.streams_created).into());
    }

    fn publish(&mut self, command: &Command, stream_id: u32) {
        let stream = command.argument(0).as_str().unwrap_or_default();
        let code = "NetStream.Publish.BadName";
        if let Some(target) = self.request(Purpose::Publish, stream, stream_id, code) {
            let request = PublishRequest { stream_id, target };
            self.events
                .push_back(SessionEvent::PublishRequested(request));
        }
    }

    /// Notes a request to publish or play, or refuses it with this code.
    pub(super) fn request(
        &mut self,
        purpose: Purpose,
        stream: &str,
        stream_id: u32,
        code: &str,
    ) -> Option<Target> {
        let app = self.connection.as_ref().map_or("", |request| &request.app);
        let plays = self.played().is_some();
        let has_room =
            self.streams.len() < MAX_STREAMS as usize || self.streams.contains_key(&stream_id);
        if let Some(refusal) = self.swf_refusal() {
            self.events.push_back(SessionEvent::SwfRefused(refusal));
            let info = status::error(code, &format!("SWF verification: {refusal}."));
            self.send_status(stream_id, &info);
            return None;
        }
        let refusal = match Target::resolve(app, stream) {
            Err(error) => {
                let refusal = format!("Not a stream name: {error}.");
                self.events.push_back(SessionEvent::NameRefused(error));
                refusal
            }
            Ok(_) if self.active().any(|active| active == stream_id) => {
                format!("Something is published or played on message stream {stream_id} already.")
            }
            Ok(_) if purpose == Purpose::Play && plays => {
                "This connection plays a stream already.".to_owned()
            }
            Ok(_) if !has_room => "This connection has too many streams.".to_owned(),
            Ok(target) => {
                self.asked = Some(Asked {
                    stream_id,
                    purpose,
                    name: target.name.clone(),
                });
                return Some(target);
            }
        };
        self.send_status(stream_id, &status::error(code, &refusal));
        None
    }

    /// Responds to `FCPublish` with `onFCPublish`, for which some encoders wait.
    fn fc_publish(&mut self, command: &Command) {
        self.send_result(command, Value::Undefined);
        let stream = command.argument(0).as_str().unwrap_or_default();
        let info = object([
            ("code", "NetStream.Publish.Start".into()),
            ("description", stream.into()),
        ]);
        let answer = Command::new("onFCPublish", 0.0, [Value::Null, info]);
        self.send_command(&answer);
    }

    /// Ends the stream that `deleteStream` names.
    fn delete_stream(&mut self, command: &Command) {
        if let Some(stream_id) = self.named(command.argument(0)) {
            self.end(stream_id, EndReason::DeleteStream);
        }
    }

    /// Returns the message stream that a command refers to. `deleteStream` has its number,
    /// `FCUnpublish` the stream's name. Some encoders send the name in both, or nothing, and refer
    /// to their only stream.
    fn named(&self, value: &Value) -> Option<u32> {
        if let Some(number) = value.as_number() {
            return self.active().find(|&id| f64::from(id) == number);
        }
        let app = self.connection.as_ref().map_or("", |request| &request.app);
        let name = Target::resolve(app, value.as_str().unwrap_or_default()).ok();
        let is_named = |id: &u32| {
            let activity = self.streams.get(id).and_then(Activity::name);
            activity.is_some() && activity == name.as_ref().map(|target| &target.name)
        };
        let mut active = self.active();
        match (active.next(), active.next()) {
            (Some(only), None) => Some(only),
            _ => self.active().find(is_named),
        }
    }

    /// Ends the activity on a message stream, on behalf of the client.
    fn end(&mut self, stream_id: u32, reason: EndReason) {
        let event = match self.stop(stream_id) {
            Some(Activity::Publishing { .. }) => {
                let info = status::status("NetStream.Unpublish.Success", "The stream has ended.");
                self.send_status(stream_id, &info);
                SessionEvent::PublishEnded { stream_id, reason }
            }
            Some(Activity::Playing { .. }) => SessionEvent::PlayEnded,
            Some(Activity::Refused) | None => return,
        };
        self.events.push_back(event);
    }

    fn refuse_unknown(&mut self, command: &Command, name: &str) {
        let name = shown(name).unwrap_or_default();
        let info = status::error(
            "NetConnection.Call.Failed",
            &format!("The command {name:?} is unknown."),
        );
        self.send_answer("_error", command, Value::Null, info);
    }

    /// Responds with success, if the client expects a response.
    fn send_result(&mut self, command: &Command, result: Value) {
        self.send_answer("_result", command, Value::Null, result);
    }

    fn send_answer(&mut self, name: &str, to: &Command, properties: Value, info: Value) {
        // GStreamer sends releaseStream and FCPublish with id 0, and expects no response.
        if to.transaction_id != 0.0 {
            let answer = Command::new(name, to.transaction_id, [properties, info]);
            self.send_command(&answer);
        }
    }

    fn send_command(&mut self, command: &Command) {
        let message = Message::Command(command.clone());
        self.link.send(COMMAND_CHUNK_STREAM, 0, 0, &message);
    }

    /// Sends the status of a message stream (RTMP 1.0 section 7.2.2).
    pub(super) fn send_status(&mut self, stream_id: u32, info: &Value) {
        let status = Command::new("onStatus", 0.0, [Value::Null, info.clone()]);
        let message = Message::Command(status);
        self.link.send(STATUS_CHUNK_STREAM, 0, stream_id, &message);
    }
}
