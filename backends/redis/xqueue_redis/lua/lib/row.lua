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

local function row_of(ok, at, ...)
  local row = ok and at == -1 and { ... }
  if row and #row == WIDTH and type(row[STATE]) == 'string' then
    return row
  end
  return nil
end

-- The row in these bytes, or nil. One value behind the other is read faster than an array.
local function read_row(bytes)
  if bytes and string.find(bytes, HEADER, 1, true) == 1 then
    return row_of(pcall(unpack_limit, bytes, WIDTH, #HEADER))
  end
  return nil
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
