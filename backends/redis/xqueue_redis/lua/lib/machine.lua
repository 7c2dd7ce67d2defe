-- The state machine of xqueue_core.transitions and xqueue_core.outcomes, command by command, on
-- rows. `at` is the time.
--
-- Each function changes the row in place, puts the task where it then belongs, tells of it, and
-- answers what the Python one says.

local machine = {}

local HISTORY_KEPT, SETTLED_KEPT, MAX_LOSSES = 16, 64, 3
local LONGEST_WAIT = 100 * 365 * 86400
local UNABLE_CAP = 60

-- For how many seconds the task's lane has been paused by then, where that matters to it.
local function paused(row, at)
  return row[QUEUE_TIMEOUT] >= 0 and paused_for(row[LANE], at) or 0
end

local function said(id, row, at, name, reason)
  row[SEQ] = row[SEQ] + 1
  tell(id, row[SEQ], name, row[STATE], at, row[LANE], row[ATTEMPT], row[DELIVERY], row[WORKER],
    reason or '')
  return 'applied'
end

local function begin_wait(row, due, at)
  local later = due > at
  row[STATE] = later and 'scheduled' or 'pending'
  row[DUE_AT] = later and math.min(due, at + LONGEST_WAIT) or at
  row[WAIT_FROM] = row[DUE_AT]
  row[WAIT_BASE] = paused(row, at)
  row[RANK] = micros(at)
end

-- End the running delivery's entry in the history.
local function close_delivery(row, at, how, reason, failure)
  local history = row[HISTORY]
  local last = history[#history]
  if last then
    last[A.ENDED_AT], last[A.HOW], last[A.REASON] = at, how, reason
    last[A.ERROR] = failure and failure.brief or ''
  end
end

-- Release the unique key that a task held until its end.
local function release_unique(id, row)
  if row[UNIQUE_KEY] == '' then
    return
  end
  local key = P .. 'u:' .. type_of(id) .. ':' .. row[UNIQUE_KEY]
  local held = unpacked(call('GET', key))
  if held and held[1] == id and held[2] == -1 then
    call('DEL', key)
  end
end

-- Bring a task that was taken out to a final state.
local function finish_task(id, row, state, at, reason, failure, how)
  -- A first delivery has no failure of an earlier one.
  local failed_before = #row[HISTORY] > (row[STATE] == 'processing' and 1 or 0)
  if row[STATE] == 'processing' then
    close_delivery(row, at, how or state, reason, failure)
  end
  row[STATE] = state
  row[REASON] = reason
  row[PARKED] = false
  row[FINISHED_AT] = at
  if failure then
    set_field(id, 'f', failure.body)
  elseif failed_before then
    drop_field(id, 'f')
  end
  put_in(id, row)
  release_unique(id, row)
  return said(id, row, at, 'finished', reason)
end

local function own_failure(reason, message)
  return { reason = reason, brief = message, body = pack({ reason, '', message }) }
end

-- When a waiting task becomes `timeout` if its lane is not paused until then; nil if never.
local function expires_at(row, at)
  local state = row[STATE]
  if row[QUEUE_TIMEOUT] < 0 or (state ~= 'pending' and state ~= 'scheduled') then
    return nil
  end
  local stood = 0
  if state == 'pending' or resumed(row) then
    stood = math.max(0, paused(row, at) - row[WAIT_BASE])
  end
  return row[WAIT_FROM] + row[QUEUE_TIMEOUT] + stood
end

-- A number as Python's str() of the float writes it, which is what people are told.
local function seconds_text(n)
  for digits = 1, 17 do
    local text = format('%.' .. digits .. 'g', n)
    if tonumber(text) == n then
      if n >= 1e-4 and n < 1e16 then
        local plain = format('%.' .. math.max(1, digits - 1 - math.floor(math.log10(n))) .. 'f', n)
        return tonumber(plain) == n and plain or text
      end
      return text
    end
  end
  return tostring(n)
end

-- -- arriving and waiting ------------------------------------------------------------------------

-- A new task. `row` has what the envelope says; nothing of it exists yet.
function machine.accept(id, row, due, nth, parked, at)
  begin_wait(row, due, at)
  row[RANK] = row[RANK] + nth
  row[PARKED] = parked and row[STATE] == 'pending'
  put_in(id, row)
  count(row[LANE], id, 'accepted', 1)
  return said(id, row, at, 'accepted')
end

local function has_line(row)
  if not row[KEYED] then
    return false
  end
  local key = line_key(row[LANE], row[KEY])
  for _, rank in pairs(scores[key] or {}) do
    if rank then
      return true
    end
  end
  return call('EXISTS', key) == 1
end

function machine.promote(id, row, at)
  if row[STATE] ~= 'scheduled' then
    return 'idle'
  end
  if row[DUE_AT] > at then
    return 'early'
  end
  take_out(id, row)
  row[STATE] = 'pending'
  row[PARKED] = has_line(row)
  -- What nobody here could run goes to the back; the others in order of their times.
  row[RANK] = micros(resumed(row) and at or row[DUE_AT])
  if not resumed(row) then
    row[WAIT_BASE] = paused(row, row[DUE_AT])
  end
  put_in(id, row)
  return said(id, row, at, 'due')
end

function machine.reschedule(id, row, due, at)
  if row[STATE] == 'processing' then
    return 'running'
  end
  if FINAL[row[STATE]] then
    return 'final'
  end
  take_out(id, row)
  local parked = row[PARKED]
  begin_wait(row, due, at)
  row[PARKED] = parked and row[STATE] == 'pending'
  put_in(id, row)
  return said(id, row, at, 'rescheduled')
end

function machine.leave(id, row, at)
  if not row[PARKED] then
    return 'idle'
  end
  take_out(id, row)
  row[PARKED] = false
  put_in(id, row)
  return said(id, row, at, 'unparked')
end

function machine.expire(id, row, at)
  local deadline = expires_at(row, at)
  if not deadline then
    return 'idle'
  end
  if deadline > at then
    return 'early', deadline
  end
  take_out(id, row)
  local text = 'waited longer than ' .. seconds_text(row[QUEUE_TIMEOUT]) .. ' s'
  finish_task(id, row, 'timeout', at, 'queue_timeout', own_failure('queue_timeout', text))
  return 'applied'
end

-- Lease a task whose entry has just been taken from its stream, or that lies in `early`.
function machine.lease(id, row, worker, number, floor, at)
  if row[STATE] ~= 'pending' or row[PARKED] then
    return 'idle'
  end
  if row[QUEUE_TIMEOUT] >= 0 and machine.expire(id, row, at) == 'applied' then
    return 'expired'
  end
  row[STATE] = 'processing'
  row[DELIVERY] = math.max(row[DELIVERY] + 1, floor)
  row[ATTEMPT] = row[ATTEMPT] + 1
  row[WORKER], row[CALL], row[LEASED_AT], row[REASON] = worker, number, at, ''
  local history = row[HISTORY]
  while #history >= HISTORY_KEPT do
    table.remove(history, 1)
  end
  history[#history + 1] = { row[DELIVERY], row[ATTEMPT], worker, at, 0, '', '', '' }
  taken(id, row)
  return said(id, row, at, 'leased')
end

-- -- how deliveries end --------------------------------------------------------------------------

local outcomes = {}

function outcomes.failed(id, row, o, at)
  return finish_task(id, row, 'failed', at, o.failure.reason, o.failure)
end

function outcomes.timeout(id, row, o, at)
  return finish_task(id, row, 'timeout', at, o.failure.reason, o.failure)
end

function outcomes.retry(id, row, o, at)
  if row[ATTEMPT] > row[MAX_RETRY] then
    local state = o.timed_out and 'timeout' or 'failed'
    return finish_task(id, row, state, at, o.failure.reason, o.failure)
  end
  close_delivery(row, at, 'retry', o.failure.reason, o.failure)
  begin_wait(row, at + o.delay, at)
  row[UNABLE] = 0
  set_field(id, 'f', o.failure.body)
  put_in(id, row)
  return said(id, row, at, 'retry', o.failure.reason)
end

function outcomes.handback(id, row, o, at)
  -- Work that had begun keeps its charge, except that a hand-back never ends a task.
  if not o.ran or row[ATTEMPT] > row[MAX_RETRY] then
    row[ATTEMPT] = row[ATTEMPT] - 1
  end
  local reason = o.unable ~= '' and o.unable or o.reason
  close_delivery(row, at, 'handback', reason)
  row[STATE] = 'pending'
  if o.unable ~= '' then
    row[DUE_AT] = at + math.min(UNABLE_CAP, 2 ^ math.min(row[UNABLE], 10))
    row[STATE] = 'scheduled'
    row[UNABLE] = row[UNABLE] + 1
  else
    row[UNABLE] = 0
  end
  row[REASON] = reason
  put_in(id, row)
  return said(id, row, at, 'handed_back', reason)
end

function outcomes.parked(id, row, _, at)
  row[ATTEMPT] = row[ATTEMPT] - 1
  close_delivery(row, at, 'parked', '')
  row[STATE] = 'pending'
  row[PARKED] = true
  row[UNABLE] = 0
  put_in(id, row)
  return said(id, row, at, 'parked')
end

local function knows(settled, token)
  for _, known in ipairs(settled) do
    if known == token then
      return true
    end
  end
  return false
end

-- Record how delivery `token` ended. `o`: kind, and what that kind has (see settle.lua).
function machine.settle(id, row, token, o, at)
  if row[STATE] ~= 'processing' or token ~= row[DELIVERY] then
    return knows(row[SETTLED], token) and 'repeated' or 'lost'
  end
  take_out(id, row)
  local settled = row[SETTLED]
  while #settled >= SETTLED_KEPT do
    table.remove(settled, 1)
  end
  settled[#settled + 1] = token
  if o.kind == 'success' then
    set_field(id, 'r', o.result)
    row[RESULT_TYPE] = o.content_type
    return finish_task(id, row, 'success', at, '')
  end
  if row[CANCEL] ~= '' or o.kind == 'canceled' then
    local given = o.kind == 'canceled' and o.reason or ''
    local reason = row[CANCEL] ~= '' and row[CANCEL] or (given ~= '' and given or 'worker')
    return finish_task(id, row, 'canceled', at, reason)
  end
  return outcomes[o.kind](id, row, o, at)
end

local WAITED = 'the worker died while it waited'

-- The worker that holds this delivery is dead; `waited` if it had said that it had not started.
function machine.lose(id, row, token, waited, at)
  if row[STATE] ~= 'processing' or token ~= row[DELIVERY] then
    return 'lost'
  end
  take_out(id, row)
  row[ATTEMPT] = row[ATTEMPT] - 1
  if waited then
    row[UNABLE] = 0
  else
    row[LOSSES] = row[LOSSES] + 1
  end
  if row[CANCEL] ~= '' then
    local how = waited and 'handback' or 'lost'
    return finish_task(id, row, 'canceled', at, row[CANCEL], nil, how)
  end
  if waited then
    close_delivery(row, at, 'handback', WAITED)
    row[STATE], row[REASON] = 'pending', WAITED
    put_in(id, row)
    return said(id, row, at, 'handed_back', WAITED)
  end
  if row[LOSSES] >= MAX_LOSSES then
    local text = whole(row[LOSSES]) .. ' workers died while they held it'
    local failure = own_failure('worker_lost', text)
    return finish_task(id, row, 'failed', at, 'worker_lost', failure, 'lost')
  end
  close_delivery(row, at, 'lost', 'worker ' .. row[WORKER] .. ' was declared dead')
  row[STATE] = 'pending'
  put_in(id, row)
  return said(id, row, at, 'lost', 'worker_lost')
end

-- -- wishes from outside -------------------------------------------------------------------------

local function end_early(id, row, at, reason, request)
  if FINAL[row[STATE]] then
    return 'final'
  end
  local runs = row[STATE] == 'processing'
  if runs and row[CANCEL] ~= '' then
    return 'requested'
  end
  row[WISH], row[WISH_TOLD] = request, runs
  if not runs then
    take_out(id, row)
    return finish_task(id, row, 'canceled', at, reason)
  end
  row[CANCEL] = reason
  touch(id, row)
  hold(row[WORKER], id, held_value(row))
  said(id, row, at, 'cancel_requested', reason)
  return 'requested'
end

local function wished_before(request, wish, told)
  if request == '' or request ~= wish then
    return nil
  end
  return told and 'requested' or 'applied'
end

function machine.cancel(id, row, reason, request, at)
  local before = wished_before(request, row[WISH], row[WISH_TOLD])
  if before then
    return before
  end
  return end_early(id, row, at, reason ~= '' and reason or 'canceled', request)
end

-- The task's record goes, and a tombstone stays until then: its id is taken.
local function gone(id, row, at, horizon, request)
  tell(id, row[SEQ] + 1, 'expunged', row[STATE], at, row[LANE], row[ATTEMPT], 0, '', '')
  take_out(id, row)
  release_unique(id, row)
  local retry = 2 * horizon.client_retry
  local keep = row[REMEMBER] and horizon.dedupe or retry
  local till = row[FINISHED_AT] + math.max(keep, retry)
  local wish, told = row[WISH], row[WISH_TOLD]
  if request and request ~= '' then
    wish, told = request, false
    till = math.max(till, at + retry) -- who wished it may ask again
  end
  local key = task_key(id)
  call('DEL', key)
  tasks[id], dirty[id], fields[id], gone_fields[id] = nil, nil, nil, nil
  if till > at then
    call('HSET', key, 'x', pack({ till, row[SETTLED], wish, told }))
    call('PEXPIREAT', key, whole(math.ceil(till * 1000)))
  end
  return 'applied'
end

local PURGED = 'purged'

-- What to say of a purge that names an earlier event: its first reply may have been lost.
local function purged_already(row, seen)
  if row[SEQ] == seen + 1 then
    if row[STATE] == 'canceled' and row[REASON] == PURGED then
      return 'applied'
    end
    if row[STATE] == 'processing' and row[CANCEL] == PURGED then
      return 'requested'
    end
  end
  return 'changed'
end

-- `seq` is -1 if the purge names no event.
function machine.purge(id, row, seq, request, at, horizon)
  local before = wished_before(request, row[WISH], row[WISH_TOLD])
  if before then
    return before
  end
  if seq >= 0 and seq ~= row[SEQ] then
    return purged_already(row, seq)
  end
  if FINAL[row[STATE]] then
    return gone(id, row, at, horizon, request)
  end
  return end_early(id, row, at, PURGED, request)
end

function machine.expunge(id, row, at, horizon)
  if not FINAL[row[STATE]] then
    return 'live'
  end
  if expunged_at(row) > at then
    return 'early'
  end
  return gone(id, row, at, horizon)
end

-- Take the unique key for a replayed task; the task that holds it if another one lives.
local function unique_for_replay(id, row, at)
  if row[UNIQUE_KEY] == '' then
    return nil
  end
  local key = P .. 'u:' .. type_of(id) .. ':' .. row[UNIQUE_KEY]
  local held = unpacked(call('GET', key))
  if held and held[1] ~= id then
    local other = task(held[1])
    if other and not FINAL[other[STATE]] then
      return held[1]
    end
  end
  if not (held and held[2] ~= -1 and held[2] > at) then
    call('SET', key, pack({ id, -1 }))
  end
  return nil
end

-- `edit` is nil, or has: envelope, priority, max_retry, replays (as they were when it was made).
function machine.replay(id, row, request, seq, delay, edit, at)
  if request ~= '' and request == row[REPLAY_REQUEST] then
    return 'repeated'
  end
  if not FINAL[row[STATE]] then
    return 'live'
  end
  if seq >= 0 and seq ~= row[SEQ] then
    return 'changed'
  end
  if edit and not row[READABLE] then
    return 'unsupported' -- what is not known here would be lost
  end
  if edit and edit.replays ~= row[REPLAYS] then
    return 'again' -- the envelope may be another by now
  end
  if edit and not edit.envelope then
    return 'invalid' -- a put would have been refused
  end
  local other = unique_for_replay(id, row, at)
  if other then
    return 'duplicate', other
  end
  take_out(id, row)
  if edit then
    set_field(id, 'e', edit.envelope)
    row[PRIORITY], row[MAX_RETRY] = edit.priority, edit.max_retry
  end
  row[ATTEMPT], row[LOSSES], row[UNABLE] = 0, 0, 0
  row[CANCEL], row[REASON], row[RESULT_TYPE], row[OF], row[WORKER] = '', '', '', '', ''
  row[FINISHED_AT] = 0
  row[REPLAYS] = row[REPLAYS] + 1
  row[REPLAY_REQUEST] = request
  drop_field(id, 'r')
  drop_field(id, 'f')
  begin_wait(row, at + delay, at)
  put_in(id, row)
  count(row[LANE], id, 'replayed', 1)
  return said(id, row, at, 'replayed')
end
