-- The ledger.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: none
-- RETURN: [time, the hashes lanes, types and counts (lists of fields and values), and a list of
--         lanes and when the oldest of their tasks that may be leased was accepted]
-- libs: base row looking
-- flags: no-writes

-- Most tasks looked at to find a level's first that waits.
local LOOKED = 20

-- The row of a task that may be leased, else nil.
local function waiting(id, entry)
  local row = id and read_row(peek('HGET', task_key(id), 's'))
  if row and row[STATE] == 'pending' and not row[PARKED] and row[ENTRY] == entry then
    return row
  end
  return nil
end

local function first_early(lane, level)
  local ids = peek('ZRANGE', P .. 'early:' .. lane .. ':' .. level, 0, LOOKED - 1)
  for _, id in ipairs(ids or {}) do
    local row = waiting(id, '')
    if row then
      return row
    end
  end
  return nil
end

local function first_in_stream(lane, level)
  local stream = P .. 'r:' .. lane .. ':' .. level
  local taken = taken_up_to(stream)
  local after = taken and '(' .. taken or '-'
  for _, entry in ipairs(peek('XRANGE', stream, after, '+', 'COUNT', LOOKED) or {}) do
    local row = waiting(named(entry[2]).i, entry[1])
    if row then
      return row
    end
  end
  return nil
end

-- Within a level the first is the oldest, but for those that came back; of the levels any may hold
-- the oldest.
local function oldest_of(lane)
  local oldest
  for level, n in pairs(named(peek('HGETALL', P .. 'ready:' .. lane) or {})) do
    if (tonumber(n) or 0) > 0 then
      local early, row = first_early(lane, level), first_in_stream(lane, level)
      if early and not (row and row[RANK] < early[RANK]) then
        row = early
      end
      oldest = math.min(oldest or math.huge, row and row[ACCEPTED_AT] or math.huge)
    end
  end
  return oldest
end

local lanes = peek('HGETALL', P .. 'lanes') or {}
local ages = {}
for i = 1, #lanes, 2 do
  local oldest = oldest_of(lanes[i])
  if oldest and oldest < math.huge then
    ages[#ages + 1] = lanes[i]
    ages[#ages + 1] = format('%.17g', oldest)
  end
end
local types, counts = peek('HGETALL', P .. 'types') or {}, peek('HGETALL', P .. 'counts') or {}
return { format('%.17g', now), lanes, types, counts, ages }
