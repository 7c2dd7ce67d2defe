-- A task's row, and how it is read and written. `rows.py` names the same places, from 0.

local STATE, RANK, ACCEPTED_AT, DUE_AT, WAIT_FROM, WAIT_BASE = 1, 2, 3, 4, 5, 6
local SEQ, DELIVERY, ATTEMPT, LOSSES, WORKER, CALL, LEASED_AT = 7, 8, 9, 10, 11, 12, 13
local PARKED, UNABLE, CANCEL, REASON, RESULT_TYPE, FINISHED_AT = 14, 15, 16, 17, 18, 19
local OF, REPLAYS, REPLAY_REQUEST, SETTLED, HISTORY, WISH, WISH_TOLD = 20, 21, 22, 23, 24, 25, 26
-- What the envelope says, as far as scripts ask for it. A time that there is none of is -1.
local LANE, PRIORITY, MAX_RETRY, QUEUE_TIMEOUT, KEY, KEYED = 27, 28, 29, 30, 31, 32
local UNIQUE_KEY, REMEMBER, RESULT_TTL, FAILURE_TTL, READABLE = 33, 34, 35, 36, 37
-- Its entry in a ready stream, '' if it has none.
local ENTRY = 38
local WIDTH = 38

-- An attempt in the history.
local A = { ENDED_AT = 5, HOW = 6, REASON = 7, ERROR = 8 }

local FINAL = { success = true, failed = true, canceled = true, timeout = true }

local task_keys = {} --@call
-- id -> the row's bytes as they were read.
local read_bytes = {} --@call

local function task_key(id)
  local key = task_keys[id]
  if not key then
    key = P .. 't:' .. id
    task_keys[id] = key
  end
  return key
end

-- How the bytes of a row begin: as an array of WIDTH values.
local HEADER = '\220\0\38'

local read_row
do
  local STATES = { pending = true, scheduled = true, processing = true, success = true,
    failed = true, canceled = true, timeout = true }

  -- The row of these values; nil, or an error, if one of them is none of ours. Comparisons cost a
  -- fraction of type(), and raise for another type; none holds for what is no number (NaN). Of a
  -- string #, but no element, can be had. Whole numbers are exact below 9e15.
  local function row_of(at, state, rank, accepted_at, due_at, wait_from, wait_base, seq, delivery,
    attempt, losses, worker, call, leased_at, parked, unable, cancel, reason, result_type,
    finished_at, of, replays, replay_request, settled, history, wish, wish_told, lane, priority,
    max_retry, queue_timeout, key, keyed, unique_key, remember, result_ttl, failure_ttl, readable,
    entry)
    if at == -1 and STATES[state]
      and rank >= 0 and rank < 9e15 and rank % 1 == 0
      and accepted_at > -9e15 and due_at > -9e15 and wait_from > -9e15 and wait_base > -9e15
      and seq >= 0 and seq < 9e15 and seq % 1 == 0
      and delivery >= 0 and delivery < 9e15 and delivery % 1 == 0
      and attempt >= 0 and attempt < 9e15 and attempt % 1 == 0
      and losses >= 0 and losses < 9e15 and losses % 1 == 0
      and worker >= '' and call >= 0 and call < 9e15 and call % 1 == 0 and leased_at > -9e15
      and (parked == true or parked == false)
      and unable >= 0 and unable < 9e15 and unable % 1 == 0
      and cancel >= '' and reason >= '' and result_type >= '' and finished_at > -9e15 and of >= ''
      and replays >= 0 and replays < 9e15 and replays % 1 == 0 and replay_request >= ''
      and (#settled == 0 and settled ~= '' or settled[#settled])
      and (#history == 0 and history ~= '' or history[#history][1])
      and wish >= '' and (wish_told == true or wish_told == false)
      and lane >= '' and priority >= 0 and priority <= 9 and priority % 1 == 0
      and max_retry >= 0 and max_retry < 2e19 and max_retry % 1 == 0 and queue_timeout > -9e15
      and key >= '' and (keyed == true or keyed == false) and unique_key >= ''
      and (remember == true or remember == false) and result_ttl > -9e15 and failure_ttl > -9e15
      and (readable == true or readable == false) and entry >= '' then
      return { state, rank, accepted_at, due_at, wait_from, wait_base, seq, delivery, attempt,
        losses, worker, call, leased_at, parked, unable, cancel, reason, result_type, finished_at,
        of, replays, replay_request, settled, history, wish, wish_told, lane, priority, max_retry,
        queue_timeout, key, keyed, unique_key, remember, result_ttl, failure_ttl, readable, entry }
    end
    return nil
  end

  local function values_in(bytes)
    return row_of(unpack_limit(bytes, WIDTH, #HEADER))
  end

  -- The row in these bytes, or nil. One value behind the other is read faster than an array.
  function read_row(bytes)
    if bytes and string.find(bytes, HEADER, 1, true) == 1 then
      local ok, row = pcall(values_in, bytes)
      return ok and row or nil
    end
    return nil
  end
end

-- A task: its row, or nil and what is there instead: 'none', 'stone', 'quarantined', 'damaged'.
-- The second answer is the tombstone where it is one.
local function load_task(id)
  local bytes = redis.pcall('HGET', task_key(id), 's')
  local plain = type(bytes) == 'string' and read_row(bytes)
  if plain then
    read_bytes[id] = bytes
    return plain, 'task'
  end
  local found = redis.pcall('HMGET', task_key(id), 's', 'x', 'q')
  if found.err then
    if string.sub(found.err, 1, 9) ~= 'WRONGTYPE' then
      error(found) -- a right lacks, or a cluster moves it: that says nothing of the task
    end
    return nil, 'damaged'
  end
  if found[3] then
    return nil, 'quarantined', unpacked(found[3])
  end
  if found[1] then
    return nil, 'damaged'
  end
  if found[2] then
    local stone = unpacked(found[2])
    if stone and stone[1] > now then
      return nil, 'stone', stone
    end
    call('DEL', task_key(id)) -- its time is over, which Redis itself sees a moment later
    return nil, 'none'
  end
  if call('EXISTS', task_key(id)) == 1 then
    return nil, 'damaged'
  end
  return nil, 'none'
end

-- -- lanes ---------------------------------------------------------------------------------------

local lanes_seen = {} --@call

-- A lane: whether it is paused, for how long it was before, and since when it is.
local function lane_of(name)
  local lane = lanes_seen[name]
  if not lane then
    lane = unpacked(call('HGET', P .. 'lanes', name)) or { false, 0, 0 }
    lanes_seen[name] = lane
  end
  return lane
end

-- For how many seconds the lane has been paused in all by then.
local function paused_for(name, at)
  local lane = lane_of(name)
  if lane[1] then
    return lane[2] + math.max(0, at - lane[3])
  end
  return lane[2]
end
