-- How many tasks wait for each key of these lanes, in pages (P3.4).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: packed [lane, ...], in order  2: the last one of the page before, '' at first
--         3: most lines
-- RETURN: [lane, key, number of tasks, acceptance of the first (text), ...] of each line
-- libs: base row looking
-- flags: no-writes

local found = {}
local lanes, after, limit = unpack_(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local function add(lane, key)
  local line = P .. 'line:' .. lane .. ':' .. key
  local first = peek('ZRANGE', line, 0, 0)
  local row = first and first[1] and read_row(peek('HGET', task_key(first[1]), 's'))
  local n = #found
  found[n + 1], found[n + 2], found[n + 3] = lane, key, peek('ZCARD', line) or 0
  found[n + 4] = format('%.6f', row and row[ACCEPTED_AT] or 0)
end

for _, lane in ipairs(lanes) do
  local begin = '[' .. lane .. '\0'
  if not comes_before(after, lane .. '\0') then
    begin = '(' .. after
  end
  if comes_before(after, lane .. '\1') and #found < 4 * limit then
    local members = peek('ZRANGEBYLEX', P .. 'lines', begin, '(' .. lane .. '\1', 'LIMIT', 0,
      limit - #found / 4)
    for _, member in ipairs(members or {}) do
      add(lane, string.sub(member, #lane + 2))
    end
  end
end
return found
