-- What every script has: the prefix of its keys, the time, and what is written at its end.
--
-- Counts, events and rings are gathered while a script runs and written once, by finish().

-- "{namespace}:meta" without "meta"
local P = string.sub(KEYS[1], 1, -5) --@call
-- A library sees none of these while it is loaded.
local pack, unpack_, unpack_limit = cmsgpack.pack, cmsgpack.unpack, cmsgpack.unpack_limit --@call
local format = string.format --@call

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end
local now = clock() --@clock --@call

-- True once something was changed, which stays also if this call raises: Redis rolls nothing back.
local wrote = false --@call

-- redis.pcall() for commands that change something.
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  wrote = wrote or type(answer) ~= 'table' or not answer.err
  return answer
end

-- redis.call() for commands whose first argument is a key of ours. What another client has put in
-- its place, of another type, is moved aside: a script must not end half way.
local call
do
  local READS = { EXISTS = true, GET = true, HEXISTS = true, HGET = true, HGETALL = true,
    HKEYS = true, HLEN = true, HMGET = true, HRANDFIELD = true, HVALS = true, LLEN = true,
    MGET = true, SCAN = true, TIME = true, TYPE = true, XINFO = true, XLEN = true, XRANGE = true,
    ZCARD = true, ZCOUNT = true, ZRANGE = true, ZRANGEBYLEX = true, ZRANGEBYSCORE = true,
    ZSCORE = true }

  function call(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) ~= 'table' or not answer.err then
      wrote = wrote or not READS[command]
      return answer
    end
    if string.sub(answer.err, 1, 9) == 'WRONGTYPE' then
      redis.call('RENAME', key, P .. 'rubbish:' .. string.format('%.0f', now * 1e6) .. ':' .. key)
      wrote = true
      return redis.call(command, key, ...)
    end
    error(answer)
  end
end

-- A whole number as text: tostring() would round it beyond 14 digits.
local function whole(n)
  return format('%d', n)
end

local function micros(at)
  return math.floor(at * 1e6)
end

-- The value that was packed into these bytes, or nil if they are damaged.
local function unpacked(bytes)
  if not bytes then
    return nil
  end
  local ok, value = pcall(unpack_, bytes)
  if ok and type(value) == 'table' then
    return value
  end
  return nil
end

-- Most arguments that are given to one command: Lua's stack holds some 8,000.
local MOST = 2000

-- call(...) with a list of any length behind the fixed arguments; `step` belong together.
local function many(list, step, ...)
  local fixed = { ... }
  local n = #list
  local size = MOST - MOST % step
  for first = 1, n, size do
    local last = math.min(first + size - 1, n)
    local arguments = { unpack(fixed) }
    local count = #fixed
    for i = first, last do
      count = count + 1
      arguments[count] = list[i]
    end
    call(unpack(arguments, 1, count))
  end
end

-- -- gathered until the end ----------------------------------------------------------------------

local counted, ready_changes, rung = {}, {}, {} --@call
-- What is told, as it is written: pages of groups of events, in their order. See tell().
local pages, group, in_page = {}, nil, 0 --@call

local types = {} --@call

local function type_of(id)
  local type_ = types[id]
  if not type_ then
    type_ = string.match(id, '^[^:]*')
    types[id] = type_
  end
  return type_
end

-- The number of tasks of this id's type in this lane has changed by n.
local function count(lane, id, field, n)
  local by_type = counted[lane]
  if not by_type then
    by_type = {}
    counted[lane] = by_type
  end
  local type_ = type_of(id)
  local fields = by_type[type_]
  if not fields then
    fields = {}
    by_type[type_] = fields
  end
  fields[field] = (fields[field] or 0) + n
end

-- How many of a lane's level may be leased has changed by n.
local function ready_by(lane, level, n)
  local levels = ready_changes[lane]
  if not levels then
    levels = {}
    ready_changes[lane] = levels
  end
  levels[level] = (levels[level] or 0) + n
end

-- Tasks of this lane may be leased now, or become due: wake up to n workers.
local function ring(lane, n)
  rung[lane] = (rung[lane] or 0) + (n or 1)
end

-- Most events in one entry of the log.
local PAGE = 500

-- Tell an event. Those of a batch are mostly the same but for the task and its number: what they
-- share is written once, [name, state, at, lane, attempt, token, worker, reason, [id, seq, ...]].
local function tell(id, seq, name, state, at, lane, attempt, token, worker, reason)
  if in_page == PAGE then
    group, in_page = nil, 0
  end
  if not group or group[6] ~= token or group[1] ~= name or group[2] ~= state or group[3] ~= at
    or group[4] ~= lane or group[5] ~= attempt or group[7] ~= worker or group[8] ~= reason then
    group = { name, state, at, lane, attempt, token, worker, reason, {} }
    if in_page == 0 then
      pages[#pages + 1] = {}
    end
    local page = pages[#pages]
    page[#page + 1] = group
  end
  local told = group[9]
  local n = #told
  told[n + 1], told[n + 2] = id, seq
  in_page = in_page + 1
end

-- Most tokens in a lane's wake list.
local TOKENS = 16

local function finish()
  for lane, by_type in pairs(counted) do
    for type_, fields in pairs(by_type) do
      for field, n in pairs(fields) do
        if n ~= 0 then
          call('HINCRBY', P .. 'counts', lane .. '/' .. type_ .. '/' .. field, n)
        end
      end
    end
  end
  for lane, levels in pairs(ready_changes) do
    for level, n in pairs(levels) do
      if n ~= 0 then
        call('HINCRBY', P .. 'ready:' .. lane, level, n)
      end
    end
  end
  for _, page in ipairs(pages) do
    call('XADD', P .. 'events', '*', 'b', pack(page))
  end
  for lane, n in pairs(rung) do
    local key = P .. 'wake:' .. lane
    local there = call('LLEN', key)
    local tokens = {}
    for i = 1, math.min(n, TOKENS - there) do
      tokens[i] = '1'
    end
    if #tokens > 0 then
      call('RPUSH', key, unpack(tokens))
    end
  end
end

-- What was gathered has been written.
local function forget_gathered()
  counted, ready_changes, rung, pages, group, in_page = {}, {}, {}, {}, nil, 0
end
