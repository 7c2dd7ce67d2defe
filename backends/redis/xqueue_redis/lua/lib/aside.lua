-- Tasks whose rows cannot be read: set aside, so that everything else goes on (quarantine).
--
-- They stay counted where they were, for the task was accepted and has not ended, until an
-- operator purges them.

-- Where a task lies that cannot be read: its lane, which may be given, and the state that it is
-- counted in, '' for none. It is taken from there.
local function whereabouts(id, lane)
  lane = lane or call('HGET', P .. 'types', type_of(id)) or type_of(id)
  if call('ZSCORE', P .. 'later', id) then
    call('ZREM', P .. 'later', id)
    return lane, 'scheduled'
  end
  if call('ZSCORE', P .. 'done:' .. lane, id) then
    call('ZREM', P .. 'done:' .. lane, id)
    return lane, ''
  end
  for _, worker in ipairs(call('HKEYS', P .. 'workers')) do
    if call('HDEL', P .. 'held:' .. worker, id) == 1 then
      return lane, 'processing'
    end
  end
  for _, member in ipairs(call('ZRANGEBYLEX', P .. 'lines', '[' .. lane .. '\0', '(' .. lane .. '\1')) do
    local key = line_key(lane, string.sub(member, #lane + 2))
    if call('ZREM', key, id) == 1 then
      if call('EXISTS', key) == 0 then
        call('ZREM', P .. 'lines', member)
      end
      count(lane, id, 'parked', -1)
      return lane, 'pending'
    end
  end
  for level = 9, 0, -1 do
    if call('ZREM', early_key(lane, level), id) == 1 then
      ready_by(lane, level, -1)
    end
  end
  return lane, 'pending' -- an entry in a stream goes when somebody comes to it
end

-- Put a task that cannot be read in quarantine. `lane` and `state` tell where it was, if known.
local function set_aside(id, why, at, lane, state)
  if not (lane and state) then
    lane, state = whereabouts(id, lane)
  end
  local key = task_key(id)
  if redis.call('TYPE', key).ok ~= 'hash' then
    call('RENAME', key, P .. 'rubbish:' .. whole(micros(at)) .. ':' .. id)
  end
  local row = call('HGET', key, 's')
  call('HSET', key, 'q', pack({ lane, state, why }), 'b', row or '')
  call('HDEL', key, 's')
  call('ZADD', P .. 'quarantine', at, id)
  if state ~= '' then
    count(lane, id, 'quarantined', 1)
  end
  tell(id, 0, 'quarantined', 'pending', at, lane, 0, 0, '', why)
end

-- Remove a task that is in quarantine; the ledger shows it as canceled. `kept` is how long its
-- wish is remembered (seconds).
local function forget_aside(id, aside, request, at, kept)
  local lane, state = aside[1], aside[2]
  if state ~= '' then
    count(lane, id, state, -1)
    count(lane, id, 'quarantined', -1)
    count(lane, id, 'canceled', 1)
  end
  call('DEL', task_key(id))
  call('ZREM', P .. 'quarantine', id)
  local hashed = string.match(id, '^[^:]*:k([^~]*)~')
  if hashed then
    local unique = P .. 'u:' .. type_of(id) .. ':' .. hashed
    local held = unpacked(call('GET', unique))
    if held and held[1] == id and held[2] == -1 then
      call('DEL', unique)
    end
  end
  if request ~= '' then
    call('HSET', task_key(id), 'x', pack({ at + kept, {}, request, false }))
    call('PEXPIREAT', task_key(id), whole(math.ceil((at + kept) * 1000)))
  end
end

-- A task that a place named, which is taken from there now, is not there at all: if the ledger still
-- counts it in this state, the repair that this asks for takes it from there, too.
function machine.vanished(lane, id, state)
  lane = lane or call('HGET', P .. 'types', type_of(id)) or type_of(id)
  call('HINCRBY', P .. 'vanished', lane .. '/' .. type_of(id) .. '/' .. state, 1)
  call('SADD', P .. 'repair', lane)
end

local UNREADABLE = 'its row cannot be read'

-- The row of a task; one that cannot be read is set aside, and answered like one already there.
local function sound(id, lane, state)
  local row, kind, other = task(id)
  if kind == 'damaged' then
    set_aside(id, UNREADABLE, now, lane, state)
    return nil, 'damaged'
  end
  return row, kind, other
end
