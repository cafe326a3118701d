"""Chat: what may be done to messages, and what is said of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rooms import contract, log
from rooms.conf import config
from rooms.contract import Call, Part, Refused, Right, command
from rooms.models import Membership, Message, Participant, Room


@command("chat.send", contract.ChatSend, right=Right.WRITE)
def send(call: Call, data: contract.ChatSend) -> contract.Sent:
    with log.batch() as batch:
        reply_to = _find(batch, call.room, data.reply_to) if data.reply_to else None
        message = Message(
            room=call.room,
            seq=batch.head(call.room) + 1,
            author=call.user,
            text=data.text,
            created_at=batch.now,
            reply_to=reply_to,
        )
        batch.create(message)
        shown = contract.ChatMessage(contract.Message.from_row(message))
        batch.append(call.room, "chat.message", shown, by=call.user.pk)
        return contract.Sent(message.seq, str(message.pk), message.version, message.created_at)


@command("chat.edit", contract.ChatEdit, right=Right.WRITE)
def edit(call: Call, data: contract.ChatEdit) -> contract.Changed:
    """Only the author edits. Earlier versions stay in the log."""
    with log.batch() as batch:
        message = _find(batch, call.room, data.message)
        _require_version(message, data.version)
        if message.author_id != call.user.pk:
            raise Refused("forbidden", "Only its author edits a message.")
        message.text = data.text
        message.version += 1
        message.edits = [*message.edits, batch.head(call.room) + 1]
        message.save(update_fields=["text", "version", "edits"])
        shown = contract.ChatEdited(contract.Message.from_row(message))
        batch.append(call.room, "chat.edited", shown, by=call.user.pk)
        return contract.Changed(message.edits[-1], message.version)


@command("chat.delete", contract.ChatDelete, right=Right.WRITE)
def delete(call: Call, data: contract.ChatDelete) -> contract.Changed:
    """The author deletes, and who moderates. The text leaves the earlier events of the log too."""
    with log.batch() as batch:
        message = _find(batch, call.room, data.message)
        _require_version(message, data.version)
        if message.author_id != call.user.pk and Right.MODERATE not in call.can:
            raise Refused("forbidden", "Only its author and moderators delete a message.")
        seqs = [message.seq, *message.edits]
        emoji = list(message.reactions)
        message.text, message.deleted, message.reactions = "", True, {}
        message.version += 1
        message.save(update_fields=["text", "deleted", "reactions", "version"])
        batch.redact(call.room, seqs, _without_text)
        for one in emoji:
            batch.append(call.room, "chat.reaction", None, key=f"{message.pk}:{one}", by=call.user.pk)
        shown = contract.ChatDeleted(contract.DeletedMessage.from_row(message))
        seq = batch.append(call.room, "chat.deleted", shown, by=call.user.pk, redacts=seqs)
        assert seq is not None
        return contract.Changed(seq, message.version)


@command("chat.react", contract.ChatReact, right=Right.WRITE)
def react(call: Call, data: contract.ChatReact) -> contract.Logged:
    with log.batch() as batch:
        message = _find(batch, call.room, data.message)
        me = str(call.user.pk)
        people = [person for person in message.reactions.get(data.emoji, []) if person != me]
        if data.on:
            people.append(me)
        reactions = {**message.reactions, data.emoji: people}
        if not people:
            del reactions[data.emoji]
        if len(reactions) > contract.REACTIONS_MAX:
            raise Refused("bad_data", f"A message has at most {contract.REACTIONS_MAX} different reactions.")
        message.reactions = reactions
        message.save(update_fields=["reactions"])
        shown = contract.ChatReaction(str(message.pk), data.emoji, people) if people else None
        key = f"{message.pk}:{data.emoji}"
        seq = batch.append(call.room, "chat.reaction", shown, key=key, by=call.user.pk)
        assert seq is not None
        return contract.Logged(seq)


@command("chat.typing", contract.SetTyping, right=Right.WRITE, transient=True)
def set_typing(call: Call, data: contract.SetTyping) -> None:
    shown = contract.ChatTyping(contract.Person.from_row(call.user), data.typing)
    log.append(call.room, "chat.typing", shown, by=call.user.pk)


@command("chat.read", contract.MarkRead, right=Right.READ, remembered=False)
def mark_read(call: Call, data: contract.MarkRead) -> None:
    """Counts when it rises and names a message. In a large room only the reader is told, in ``~me``."""
    with log.batch() as batch:
        batch.flush()
        if not Message.objects.filter(room=call.room, seq=data.seq).exists():
            return
        mark = contract.ChatRead(contract.Person.from_row(call.user), data.seq)
        place = call.room
        if audience(call.room) > config().roster_limit:
            own = Room.objects.filter(tenant=call.room.tenant, kind=Room.Kind.ME, owner=call.user)
            found = own.select_related("tenant").first()
            if found is None:  # not a member: nobody follows a ~me of theirs
                return
            place = found
            mark = contract.ChatRead(mark.user, mark.seq, call.room.slug)
        key = contract.EVENTS["chat.read"].key
        assert key is not None
        before = log.latest(place, "chat.read", key(mark))
        if before is None or before["seq"] < data.seq:
            batch.append(place, "chat.read", mark, by=call.user.pk)


def _find(batch: log.Batch, room: Room, message: str) -> Message:
    """:raises Refused: ``not_found``: not in this room, or deleted."""
    batch.flush()  # it may wait in this very batch
    try:
        found = Message.objects.select_related("author").filter(room=room, pk=UUID(message), deleted=False).first()
    except ValueError:
        found = None
    if found is None:
        raise Refused("not_found", "There is no such message.")
    return found


def _require_version(message: Message, version: Any) -> None:
    if isinstance(version, int) and version != message.version:
        raise Refused("conflict", "A newer version of the message exists.", version=message.version)


def _without_text(data: dict[str, Any]) -> dict[str, Any]:
    message = {name: value for name, value in data["message"].items() if name != "text"}
    return {"message": {**message, "deleted": True}}


def audience(room: Room) -> int:
    """How many people the room is for."""
    if room.visibility == contract.Visibility.PRIVATE:
        return Participant.objects.filter(room=room).exclude(role=Part.BANNED).count()
    return Membership.objects.filter(tenant=room.tenant).count()
