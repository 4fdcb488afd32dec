//! What librdkafka's error codes mean to those who read and publish.

use portolan_exchange::events::BrokerError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The error in the words of the events.
pub(crate) fn judge(error: &KafkaError, topic: &str) -> BrokerError {
    match error.rdkafka_error_code() {
        Some(code) => judge_code(code, topic),
        None => BrokerError::Unavailable(error.to_string()),
    }
}

/// The same for a bare code.
pub(crate) fn judge_code(code: Code, topic: &str) -> BrokerError {
    match code {
        Code::QueueFull => BrokerError::Full,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId | Code::InvalidTopic => {
            BrokerError::UnknownTopic(topic.into())
        }
        Code::UnknownPartition
        | Code::InvalidPartitions
        | Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidArgument
        | Code::PolicyViolation
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed => BrokerError::Refused(code.to_string()),
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => {
            BrokerError::PositionLost(code.to_string())
        }
        // All else is the connection, a leader on its way, or a code newer than this list: trying again may help.
        _ => BrokerError::Unavailable(code.to_string()),
    }
}

/// Whether an error is about a consumer group. Readers belong to none, but librdkafka looks for a coordinator all the same.
pub(crate) fn is_of_the_group(code: Code) -> bool {
    matches!(
        code,
        Code::GroupAuthorizationFailed
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::WaitingForCoordinator
    )
}
