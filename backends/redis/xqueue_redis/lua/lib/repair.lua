-- What somebody removed beside a task, its place among those that wait, say: the task itself is
-- still there, and gets a new one.

-- Keys looked at by one script.
local LOOKED_AT = 500
-- Time between two comparisons of the places with the ledger (seconds).
local AUDIT_EVERY = 10
-- Shortest time between two repairs that such a comparison asks for (seconds).
local REPAIR_EVERY = 60

-- True if a task that may be leased is where it is leased from.
local function lies_ready(id, row)
  if row[ENTRY] == '' then
    return call('ZSCORE', early_key(row[LANE], row[PRIORITY]), id)
  end
  local found = redis.pcall('XRANGE', stream_key(row[LANE], row[PRIORITY]), row[ENTRY], row[ENTRY])
  return not found.err and #found > 0
end

-- Put a task back where it belongs, if it is not there.
local function put_back(id, row)
  local state = row[STATE]
  if FINAL[state] then
    if not call('ZSCORE', P .. 'done:' .. row[LANE], id) then
      score(P .. 'done:' .. row[LANE], id, expunged_at(row))
    end
  elseif state == 'scheduled' then
    if not call('ZSCORE', P .. 'later', id) then
      score(P .. 'later', id, row[DUE_AT])
    end
  elseif state == 'processing' then
    if call('HEXISTS', P .. 'workers', row[WORKER]) == 0 then
      machine.lose(id, row, row[DELIVERY], false, now)
    elseif call('HEXISTS', P .. 'held:' .. row[WORKER], id) == 0 then
      hold(row[WORKER], id, held_value(row))
    end
  elseif row[PARKED] then
    if not call('ZSCORE', line_key(row[LANE], row[KEY]), id) then
      in_line(id, row, row[RANK])
    end
  elseif not lies_ready(id, row) then
    touch(id, row)
    make_ready(id, row)
  end
  if state ~= 'processing' then
    expiring(id, row)
  end
end

-- Count anew what may be leased in a lane, from what is there.
local function recount(lane)
  for level = 0, 9 do
    local waiting = call('ZCARD', early_key(lane, level))
    local entries = redis.pcall('XLEN', stream_key(lane, level))
    waiting = waiting + (type(entries) == 'number' and entries or 0)
    call('HSET', P .. 'ready:' .. lane, level, waiting)
  end
end

-- How many tasks the ledger has in each state, of all lanes; and, by lane, how many may be leased.
local function ledger()
  local total, ready = { parked = 0, scheduled = 0, processing = 0 }, {}
  local flat = call('HGETALL', P .. 'counts')
  for i = 1, #flat, 2 do
    local lane, field = string.match(flat[i], '^([^/]*)/.*/([^/]*)$')
    local n = tonumber(flat[i + 1])
    if total[field] then
      total[field] = total[field] + n
    end
    if field == 'pending' or field == 'parked' then
      ready[lane] = (ready[lane] or 0) + (field == 'pending' and n or -n)
    end
  end
  return total, ready
end

-- Take those from the ledger that are in quarantine: they are counted, and have no place. False if
-- they are too many to be looked at.
local function without_quarantined(total, ready)
  local ids = call('ZRANGE', P .. 'quarantine', 0, MOST)
  for _, id in ipairs(ids) do
    local aside = unpacked(call('HGET', task_key(id), 'q'))
    if aside and aside[2] == 'pending' then
      ready[aside[1]] = (ready[aside[1]] or 0) - 1
    elseif aside and total[aside[2]] then
      total[aside[2]] = total[aside[2]] - 1
    end
  end
  return #ids <= MOST
end

-- By how much the ledger counts more than have a place: in `total` by state, in `ready` by lane.
-- Nothing if that cannot be told.
local function surplus()
  local total, ready = ledger()
  if not without_quarantined(total, ready) then
    return nil, nil
  end
  for _, member in ipairs(call('ZRANGE', P .. 'lines', 0, -1)) do
    local lane, key = string.match(member, '^([^%z]*)%z(.*)$')
    total.parked = total.parked - call('ZCARD', line_key(lane, key))
  end
  for _, worker in ipairs(call('HKEYS', P .. 'workers')) do
    total.processing = total.processing - call('HLEN', P .. 'held:' .. worker)
  end
  for lane, n in pairs(ready) do
    for _, level in ipairs(call('HVALS', P .. 'ready:' .. lane)) do
      n = n - tonumber(level)
    end
    ready[lane] = n
  end
  total.scheduled = total.scheduled - call('ZCARD', P .. 'later')
  return total, ready
end

-- True if the ledger knows of more tasks than have a place.
local function amiss_somewhere()
  local total, ready = surplus()
  for _, n in pairs(ready or {}) do
    if n ~= 0 then
      return true
    end
  end
  return total and (total.scheduled > 0 or total.parked > 0 or total.processing > 0)
end

-- Take so many of a lane and type from those that the ledger counts in a state.
local function uncount(total, ready, lane, type_, state, n)
  local prefix = lane .. '/' .. type_ .. '/'
  call('HINCRBY', P .. 'counts', prefix .. state, whole(-n))
  if state == 'pending' then
    ready[lane] = ready[lane] - n
  else
    total[state] = total[state] - n
  end
  if state == 'parked' then -- of those that wait, among which it is counted, too
    ready[lane] = (ready[lane] or 0) + n
  else
    call('HINCRBY', P .. 'counts', prefix .. 'canceled', whole(n))
  end
end

-- Take the vanished tasks from the ledger, as canceled ones: as many as it counts too many, now that
-- all others have a place, and no more than places have named.
local function forget_vanished()
  local flat = call('HGETALL', P .. 'vanished')
  local total, ready = surplus()
  if #flat == 0 or not total then
    return
  end
  -- Parked ones first, by which it is known how many others may be leased.
  for _, state in ipairs({ 'parked', 'pending', 'scheduled', 'processing' }) do
    for i = 1, #flat, 2 do
      local lane, type_, field = string.match(flat[i], '^([^/]*)/(.*)/([^/]*)$')
      if field == state then
        local more = state == 'pending' and (ready[lane] or 0) or total[state]
        local counted_ = tonumber(call('HGET', P .. 'counts', flat[i]) or '0')
        local n = math.min(tonumber(flat[i + 1]), more, counted_)
        if n > 0 then
          uncount(total, ready, lane, type_, state, n)
        end
      end
    end
  end
  call('DEL', P .. 'vanished')
end

-- Ask for a repair if places and ledger do not agree, though not soon after the last one.
local function audit()
  local meta = P .. 'meta'
  local last = tonumber(call('HGET', meta, 'audited') or '0')
  if math.abs(now - last) < AUDIT_EVERY then
    return
  end
  call('HSET', meta, 'audited', format('%.17g', now))
  local repaired = tonumber(call('HGET', meta, 'repaired') or '0')
  if math.abs(now - repaired) >= REPAIR_EVERY and amiss_somewhere() then
    call('SADD', P .. 'repair', '*')
  end
end

-- Go on with a repair that was asked for, a page at a time.
local function repair()
  if call('EXISTS', P .. 'repair') == 0 then
    return
  end
  local meta = P .. 'meta'
  local page = redis.call('SCAN', call('HGET', meta, 'repair') or '0', 'MATCH',
    string.gsub(P, '[%[%]*?\\]', '\\%0') .. 't:*', 'COUNT', LOOKED_AT)
  for _, key in ipairs(page[2]) do
    local id = string.sub(key, #P + 3)
    local row = task(id)
    if row then
      put_back(id, row)
    end
  end
  write()
  reset()
  if page[1] ~= '0' then
    call('HSET', meta, 'repair', page[1])
    return
  end
  for _, lane in ipairs(call('HKEYS', P .. 'lanes')) do
    recount(lane)
  end
  forget_vanished()
  call('HSET', meta, 'repaired', format('%.17g', now))
  call('HDEL', meta, 'repair')
  call('DEL', P .. 'repair')
end
