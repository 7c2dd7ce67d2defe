-- Where tasks lie, by their state, and what a script writes of them at its end.
--
-- A script asks for tasks by task(), changes their rows between take_out() and put_in(), and ends
-- with write(): so a task that several commands of a batch concern is read and written once.

local GROUP, CONSUMER = 'x', 'x'

-- `tasks`: id -> row; `changed`: ids whose rows are to be written, in order, and as a set.
local tasks, changed, dirty = {}, {}, {} --@call
-- id -> { field, value, ... } to write beside the row, and { field, ... } to remove.
local fields, gone_fields = {}, {} --@call
-- id -> the row's bytes, where they are known.
local ready_bytes = {} --@call
-- `scores`: key of a zset -> member -> score, or false to remove it. `holds`: key of a hash of what
-- a worker holds -> id -> value, or false.
local scores, holds = {}, {} --@call
-- `ended`: key of a stream -> entries to delete. `lines_touched`: member of `lines`
-- -> key of that line.
local ended, lines_touched = {}, {} --@call

-- Lane -> level -> key.
local stream_keys, early_keys = {}, {} --@call

local function key_of_level(keys, kind, lane, level)
  local levels = keys[lane]
  if not levels then
    levels = {}
    keys[lane] = levels
  end
  local key = levels[level]
  if not key then
    key = P .. kind .. lane .. ':' .. whole(level)
    levels[level] = key
  end
  return key
end

local function stream_key(lane, level)
  return key_of_level(stream_keys, 'r:', lane, level)
end

local function early_key(lane, level)
  return key_of_level(early_keys, 'early:', lane, level)
end

local function line_key(lane, key)
  return P .. 'line:' .. lane .. ':' .. key
end

-- The row of a task, as this script has left it so far; else as load_task().
local function task(id)
  local row = tasks[id]
  if row then
    return row, 'task'
  end
  local found, kind, other = load_task(id)
  if found then
    tasks[id] = found
  end
  return found, kind, other
end

local function touch(id, row)
  tasks[id] = row
  ready_bytes[id] = nil
  if not dirty[id] then
    dirty[id] = true
    changed[#changed + 1] = id
  end
end

local function set_field(id, field, value)
  local list = fields[id]
  if not list then
    list = {}
    fields[id] = list
  end
  list[#list + 1] = field
  list[#list + 1] = value
end

local function drop_field(id, field)
  local list = gone_fields[id] or {}
  gone_fields[id] = list
  list[#list + 1] = field
end

local function score(key, member, value)
  local members = scores[key]
  if not members then
    members = {}
    scores[key] = members
  end
  members[member] = value
end

local function hold(worker, id, value)
  local key = P .. 'held:' .. worker
  local held = holds[key]
  if not held then
    held = {}
    holds[key] = held
  end
  held[id] = value
end

local function held_value(row)
  return format('%d:%d:%d', row[DELIVERY], row[CALL], row[CANCEL] ~= '' and 1 or 0)
end

local function end_entry(row)
  if row[ENTRY] ~= '' then
    local key = stream_key(row[LANE], row[PRIORITY])
    local list = ended[key]
    if not list then
      list = {}
      ended[key] = list
    end
    list[#list + 1] = row[ENTRY]
    row[ENTRY] = ''
  end
end

local function in_line(id, row, rank)
  local key = line_key(row[LANE], row[KEY])
  score(key, id, rank)
  lines_touched[row[LANE] .. '\0' .. row[KEY]] = key
end

-- True if the present wait goes on from an earlier one, as after a hand-back.
local function resumed(row)
  return row[WAIT_FROM] ~= row[DUE_AT]
end

-- The moment at which its wait ends, less what its lane has been paused by then.
local function expiring(id, row)
  local waits = row[STATE] == 'pending' or (row[STATE] == 'scheduled' and resumed(row))
  if row[QUEUE_TIMEOUT] >= 0 and waits then
    local at = row[WAIT_FROM] + row[QUEUE_TIMEOUT] - row[WAIT_BASE]
    score(P .. 'expiring:' .. row[LANE], id, at)
  end
end

-- When a final task may be expunged.
local function expunged_at(row)
  local failed = row[STATE] == 'failed' or row[STATE] == 'timeout'
  return row[FINISHED_AT] + (failed and row[FAILURE_TTL] or row[RESULT_TTL])
end

-- Take a task from where it lies, before its row is changed.
local function take_out(id, row)
  local state, lane = row[STATE], row[LANE]
  if FINAL[state] then
    score(P .. 'done:' .. lane, id, false)
    return
  end
  count(lane, id, state, -1)
  if row[QUEUE_TIMEOUT] >= 0 and state ~= 'processing' then
    score(P .. 'expiring:' .. lane, id, false)
  end
  if state == 'processing' then
    hold(row[WORKER], id, false)
    end_entry(row)
  elseif state == 'scheduled' then
    score(P .. 'later', id, false)
  elseif row[PARKED] then
    count(lane, id, 'parked', -1)
    in_line(id, row, false)
  else
    ready_by(lane, row[PRIORITY], -1)
    if row[ENTRY] == '' then
      score(early_key(lane, row[PRIORITY]), id, false)
    end
    end_entry(row)
  end
end

-- The task may be leased: at the stream's end, or in `early` if its rank lies before that.
local function make_ready(id, row)
  local lane, level = row[LANE], row[PRIORITY]
  local key = stream_key(lane, level)
  local entry = try('XADD', key, format('%d-*', row[RANK]), 'i', id)
  if type(entry) == 'string' then
    row[ENTRY] = entry
  else
    row[ENTRY] = ''
    score(early_key(lane, level), id, row[RANK])
  end
  ready_by(lane, level, 1)
  ring(lane)
end

-- Put a task where it belongs by its row, and see to it that the row is written.
local function put_in(id, row)
  local state, lane = row[STATE], row[LANE]
  touch(id, row)
  count(lane, id, state, 1)
  if FINAL[state] then
    score(P .. 'done:' .. lane, id, expunged_at(row))
    return
  end
  expiring(id, row)
  if state == 'processing' then
    hold(row[WORKER], id, held_value(row))
  elseif state == 'scheduled' then
    score(P .. 'later', id, row[DUE_AT])
    ring(lane)
  elseif row[PARKED] then
    count(lane, id, 'parked', 1)
    in_line(id, row, row[RANK])
  else
    make_ready(id, row)
  end
end

-- A waiting task has just been leased: it leaves `early`, or its entry went when it was read.
local function taken(id, row)
  local lane = row[LANE]
  touch(id, row)
  count(lane, id, 'pending', -1)
  count(lane, id, 'processing', 1)
  ready_by(lane, row[PRIORITY], -1)
  if row[QUEUE_TIMEOUT] >= 0 then
    score(P .. 'expiring:' .. lane, id, false)
  end
  if row[ENTRY] == '' then
    score(early_key(lane, row[PRIORITY]), id, false)
  end
  row[ENTRY] = ''
  hold(row[WORKER], id, held_value(row))
end

-- -- writing -------------------------------------------------------------------------------------

local function write_rows()
  for _, id in ipairs(changed) do
    local row = tasks[id]
    local key = task_key(id)
    if row then
      local extra = fields[id]
      local bytes = ready_bytes[id] or pack(row)
      if extra then
        call('HSET', key, 's', bytes, unpack(extra))
      else
        call('HSET', key, 's', bytes)
      end
    end
    if gone_fields[id] then
      call('HDEL', key, unpack(gone_fields[id]))
    end
  end
end

local function write_scores()
  for key, members in pairs(scores) do
    local added, removed, last, text, least = {}, {}, nil, nil, math.huge
    for member, value in pairs(members) do
      if value then
        -- Those of one batch are often the same, and a number as text costs more than its place.
        if value ~= last then
          last, text = value, format('%.17g', value)
          least = math.min(least, value)
        end
        added[#added + 1] = text
        added[#added + 1] = member
      else
        removed[#removed + 1] = member
      end
    end
    many(removed, 1, 'ZREM', key)
    many(added, 2, 'ZADD', key)
    if added[1] then
      -- So that upkeep need not look into each lane.
      local place, lane = string.match(key, '^(%l+):(.*)$', #P + 1)
      if place == 'done' or place == 'expiring' then
        call('ZADD', P .. 'alarms', 'LT', format('%.17g', least), lane)
      end
    end
  end
  for member, key in pairs(lines_touched) do
    if call('EXISTS', key) == 1 then
      call('ZADD', P .. 'lines', 0, member)
    else
      call('ZREM', P .. 'lines', member)
    end
  end
end

local function write_holds()
  for key, held in pairs(holds) do
    local added, removed = {}, {}
    for id, value in pairs(held) do
      if value then
        added[#added + 1] = id
        added[#added + 1] = value
      else
        removed[#removed + 1] = id
      end
    end
    many(removed, 1, 'HDEL', key)
    many(added, 2, 'HSET', key)
  end
end

-- Write all that was changed. The last act of a script that changes tasks.
local function write()
  write_rows()
  write_scores()
  write_holds()
  for key, entries in pairs(ended) do
    many(entries, 1, 'XDEL', key)
  end
  finish()
end

-- Begin anew after write(): all is as Redis has it.
local function reset()
  tasks, changed, dirty, fields, gone_fields, ready_bytes = {}, {}, {}, {}, {}, {}
  scores, holds, ended, lines_touched = {}, {}, {}, {}
  forget_gathered()
end
