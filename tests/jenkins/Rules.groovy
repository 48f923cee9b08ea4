import org.codehaus.groovy.ast.ASTNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.ModuleNode
import org.codehaus.groovy.ast.expr.*
import org.codehaus.groovy.ast.stmt.*
import org.codehaus.groovy.control.MultipleCompilationErrorsException
import org.codehaus.groovy.control.SourceUnit

/**
 * What a declarative Jenkinsfile may say: Jenkins' own rules, cut down to what the runner can do. Everything else is
 * refused, with its line, before anything runs. In the tables an argument with `!` has to be given, the first one may
 * be given without its name, and `{}` is a block.
 */
class Rules {
    /** Of `pipeline`, `stage` and `post`: what may stand in them, and whether it holds sections, calls or steps. */
    static final PIPELINE = [agent: 'agent', parameters: 'PARAMETERS', options: 'OPTIONS', stages: 'stages', post: 'post']
    static final STAGE = [agent: 'agent', options: 'STAGE_OPTIONS', when: 'WHEN', steps: 'steps', stages: 'stages',
                          post: 'post']
    static final POST = ['always', 'changed', 'fixed', 'regression', 'aborted', 'failure', 'success', 'unstable',
                         'unsuccessful', 'cleanup']
    static final AGENT = [label: 'label!']
    static final PARAMETERS = [string: 'name! defaultValue description trim']
    static final STAGE_OPTIONS = [lock: 'resource!', timeout: 'time! unit']
    static final OPTIONS = [
        buildDiscarder: 'strategy!', copyArtifactPermission: 'projectNames!', disableConcurrentBuilds: 'abortPrevious',
        skipDefaultCheckout: 'value', timeout: 'time! unit', timestamps: '',
    ]
    static final WHEN = [expression: '{}']
    /** Of these, each has to be in an agent, for it needs a workspace. */
    static final IN_WORKSPACE = [
        archiveArtifacts: 'artifacts! allowEmptyArchive excludes fingerprint onlyIfSuccessful',
        checkout: 'scm! changelog poll', cleanWs: 'deleteDirs notFailBuild patterns',
        copyArtifacts: 'projectName! excludes filter fingerprintArtifacts flatten optional parameters selector target',
        junit: 'testResults! allowEmptyResults', publishHTML: 'target!', readFile: 'file! encoding', readJSON: 'file!',
        readYaml: 'file!', recordCoverage: 'tools! id name qualityGates', sh: 'script! label returnStatus returnStdout',
        stash: 'name! allowEmpty excludes includes', unstash: 'name!',
        withCredentials: 'bindings! {}',
    ]
    static final STEPS = IN_WORKSPACE + [
        build: 'job! parameters propagate wait', echo: 'message!', error: 'message!',
        input: 'message! id ok submitter submitterParameter', mail: 'subject! bcc body cc from replyTo to',
        script: '{}', timeout: 'time! unit {}',
    ]
    /** What is no step, but given to one; `|` separates the forms of what has several. */
    static final SYMBOLS = [
        file: 'credentialsId! variable!', lastSuccessful: '', logRotator: 'numToKeepStr artifactNumToKeepStr daysToKeepStr',
        specific: 'buildNumber!',
        string: 'credentialsId! variable!|name! value!',
        usernamePassword: 'credentialsId! passwordVariable! usernameVariable!',
    ]
    static final CALLS = STEPS + SYMBOLS
    /** Keys of maps that are given to steps. */
    static final MAPS = [
        publishHTML: ['allowMissing', 'alwaysLinkToLastBuild', 'includes', 'keepAll', 'reportDir', 'reportFiles',
                      'reportName', 'reportTitles'],
        recordCoverage: ['parser', 'pattern'],
    ]
    static final TAKE_A_MAP = ['publishHTML']
    static final GLOBALS = [
        params: null, env: null, docker: ['image'], scm: [],
        currentBuild: ['currentResult', 'description', 'displayName', 'getBuildCauses', 'keepLog'],
    ]
    static final METHODS = ['contains', 'containsKey', 'getBuildCauses', 'image', 'inside', 'join', 'trim']

    final String name
    final List<String> faults = []
    Set<String> functions = [] as Set
    Set<String> parameters = [] as Set
    /** How many stages there are, and that each has a name of its own. */
    Set<String> stages = [] as Set

    Rules(String name) { this.name = name }

    /** All that is wrong with a Jenkinsfile, each fault with its line. */
    static List<String> faults(File file) {
        def rules = new Rules(file.name)
        def source = SourceUnit.create(file.name, file.getText('UTF-8'))
        try {
            source.parse()
            source.completePhase()
            source.nextPhase()
            source.convert()
            rules.whole(source.AST)
        } catch (MultipleCompilationErrorsException error) {
            return [error.message.readLines().find { it.contains('@ line') } ?: error.message]
        }
        rules.faults.unique()
    }

    void refuse(ASTNode node, String message) { faults << "$name:$node.lineNumber: $message".toString() }

    void whole(ModuleNode module) {
        functions = module.methods*.name as Set
        def calls = module.statementBlock.statements
        if (calls.size() != 1 || called(calls[0]) != 'pipeline') {
            refuse(calls ? calls[0] : module, 'there is something else than functions and one pipeline')
            return
        }
        def blocks = sections(closureOf(calls[0].expression), 'pipeline', PIPELINE.keySet())
        blocks.parameters?.each { call -> closureOf(call).code.statements.each { declare(it) } }
        module.methods.each { method -> new Code(this, method.parameters*.name).look(method.code) }
        blocks.each { section, found -> look(PIPELINE[section], found[0]) }
        ['agent', 'stages'].findAll { !blocks[it] }.each { refuse(calls[0], "pipeline has no $it") }
    }

    void declare(Statement statement) {
        def names = arguments(statement.expression).named
        if (names?.name instanceof ConstantExpression) parameters << names.name.value
    }

    /** The calls in a block by their names, of which each may stand there once. */
    Map<String, List> sections(ClosureExpression block, String where, Collection allowed) {
        Map<String, List> found = [:]
        block.code.statements.each { statement ->
            String section = called(statement)
            if (!(section in allowed)) {
                refuse(statement, section ? "unknown section '$section' in $where" : "no section of $where")
            } else {
                if (found[section]) refuse(statement, "'$section' stands in $where twice")
                found.get(section, []) << statement.expression
            }
        }
        found
    }

    void look(String kind, MethodCallExpression call) {
        switch (kind) {
            case 'agent': agent(call); break
            case 'stages': stages(call); break
            case 'steps': steps(closureOf(call)); break
            case 'post':
                sections(closureOf(call), 'post', POST).each { condition, found -> steps(closureOf(found[0])) }
                break
            default: closureOf(call).code.statements.each { statement ->
                def table = Rules."$kind"
                if (table.containsKey(called(statement))) {
                    expect(statement.expression, table[called(statement)])
                    new Code(this, []).look(statement.expression.arguments)
                } else {
                    refuse(statement, "unknown '${called(statement)}' in $call.methodAsString")
                }
            }
        }
    }

    void agent(MethodCallExpression call) {
        def block = closureOf(call)
        if (block) {
            sections(block, 'agent', AGENT.keySet()).each { name, found -> expect(found[0], AGENT[name]) }
        } else if (!(call.arguments.expressions*.text in [['any'], ['none']])) {
            refuse(call, "unknown agent '${call.arguments.expressions*.text.join(', ')}'")
        }
    }

    void stages(MethodCallExpression call) {
        closureOf(call).code.statements.each { statement ->
            if (called(statement) != 'stage') {
                refuse(statement, "unknown section '${called(statement)}' in stages")
                return
            }
            def title = statement.expression.arguments.expressions[0].text
            if (!stages.add(title)) refuse(statement, "there are two stages '$title'")
            def blocks = sections(closureOf(statement.expression), "stage '$title'", STAGE.keySet())
            if (blocks.keySet().intersect(['steps', 'stages']).size() != 1) {
                refuse(statement, "stage '$title' has to have steps or stages")
            }
            blocks.each { section, found -> look(STAGE[section], found[0]) }
        }
    }

    /** Outside of `script` there is nothing but steps and functions. */
    void steps(ClosureExpression block) {
        block.code.statements.each { statement ->
            def call = statement instanceof ExpressionStatement ? statement.expression : null
            if (!(call instanceof MethodCallExpression && call.implicitThis)) {
                refuse(statement, 'no step: what is none belongs into script')
                return
            }
            def body = closureOf(call)
            if (body && call.methodAsString != 'script') {
                new Code(this, []).lookWithoutBlock(call)
                steps(body)
            } else {
                new Code(this, []).look(call)
            }
        }
    }

    /** Hold what a call is given against a line of a table. */
    void expect(MethodCallExpression call, String forms) {
        def given = arguments(call)
        def wrong = forms.split(/\|/).collect { form ->
            def known = form.tokenize()
            def takesBlock = known.remove('{}')
            def names = known*.replace('!', '')
            def had = given.named.keySet() + (given.positional ? names.take(1) : [])
            def unknown = given.named.keySet() - names
            def lacking = known.findAll { it.endsWith('!') }*.replace('!', '') - had
            if (unknown) return "unknown argument '${unknown.join("', '")}' of $call.methodAsString"
            if (lacking) return "$call.methodAsString lacks '${lacking.join("', '")}'"
            if (given.positional.size() > (names ? 1 : 0)) return "$call.methodAsString has too many arguments"
            if ((given.block != null) != takesBlock) return "$call.methodAsString ${takesBlock ? 'lacks its' : 'takes no'} block"
            null
        }
        if (!wrong.contains(null)) refuse(call, wrong[0])
        if (call.methodAsString == 'sh' && !((given.named.script ?: given.positional[0]) instanceof ConstantExpression)) {
            refuse(call, 'sh has to be given a constant: what is put together may be a command, or show a secret')
        }
    }

    static String called(Statement statement) {
        def call = statement instanceof ExpressionStatement ? statement.expression : null
        call instanceof MethodCallExpression && call.implicitThis ? call.methodAsString : null
    }

    static ClosureExpression closureOf(MethodCallExpression call) { arguments(call).block }

    /** What a call is given: with names, without, and as a block. */
    static Map arguments(MethodCallExpression call) {
        Map<String, Expression> named = [:]
        List<Expression> positional = []
        ClosureExpression block = null
        call.arguments.expressions.each { argument ->
            if (argument instanceof ClosureExpression) {
                block = argument
            } else if (argument instanceof NamedArgumentListExpression || (argument instanceof MapExpression && !isMap(argument, call))) {
                argument.mapEntryExpressions.each { named[it.keyExpression.text] = it.valueExpression }
            } else {
                positional << argument
            }
        }
        [named: named, positional: positional, block: block]
    }

    /** Whether it is one argument that is a map, in brackets, and not several arguments with names. */
    static boolean isMap(MapExpression map, MethodCallExpression call) { call.methodAsString in TAKE_A_MAP }
}

/** What is written in Groovy: the inside of script blocks and functions, and what steps are given. */
class Code extends CodeVisitorSupport {
    final Rules rules
    final Set<String> locals

    Code(Rules rules, Collection<String> locals) {
        this.rules = rules
        this.locals = locals as Set
    }

    void look(ASTNode node) { node.visit(this) }

    void lookWithoutBlock(MethodCallExpression call) {
        known(call)
        call.arguments.expressions.findAll { !(it instanceof ClosureExpression) }.each { it.visit(this) }
    }

    private void known(MethodCallExpression call) {
        String name = call.methodAsString
        if (!call.implicitThis) {
            if (!(name in Rules.METHODS)) rules.refuse(call, "unknown method '$name'")
        } else if (Rules.CALLS.containsKey(name)) {
            rules.expect(call, Rules.CALLS[name])
            maps(call, Rules.MAPS[name])
        } else if (!(name in rules.functions || name in locals)) {
            rules.refuse(call, "unknown step '$name'")
        }
    }

    private void maps(MethodCallExpression call, List<String> keys) {
        if (keys == null) return
        call.arguments.visit(new CodeVisitorSupport() {
            @Override
            void visitListExpression(ListExpression list) { list.expressions.each { visitMap(it) } }

            private void visitMap(Expression map) {
                if (!(map instanceof MapExpression)) return
                map.mapEntryExpressions.findAll { !(it.keyExpression.text in keys) }.each {
                    rules.refuse(map, "unknown argument '$it.keyExpression.text' of $call.methodAsString")
                }
            }

            @Override
            void visitMapExpression(MapExpression map) {
                if (Rules.isMap(map, call)) visitMap(map) else super.visitMapExpression(map)
            }
        })
    }

    @Override
    void visitMethodCallExpression(MethodCallExpression call) {
        known(call)
        if (!call.implicitThis) call.objectExpression.visit(this)
        call.arguments.visit(this)
    }

    @Override
    void visitPropertyExpression(PropertyExpression property) {
        String object = property.objectExpression.text, name = property.propertyAsString
        if (object == 'params' && !(name in rules.parameters)) rules.refuse(property, "there is no parameter '$name'")
        if (Rules.GLOBALS[object] != null && !(name in Rules.GLOBALS[object])) rules.refuse(property, "unknown '$object.$name'")
        super.visitPropertyExpression(property)
    }

    @Override
    void visitVariableExpression(VariableExpression variable) {
        if (!(variable.name in locals || Rules.GLOBALS.containsKey(variable.name) || variable.name in ['this', 'it'])) {
            rules.refuse(variable, "unknown variable '$variable.name'")
        }
    }

    @Override
    void visitDeclarationExpression(DeclarationExpression declaration) {
        declaration.rightExpression.visit(this)
        locals << declaration.variableExpression.name
    }

    @Override
    void visitCatchStatement(CatchStatement handler) {
        locals << handler.variable.name
        super.visitCatchStatement(handler)
    }

    @Override
    void visitClosureExpression(ClosureExpression closure) {
        closure.parameters?.each { locals << it.name }
        super.visitClosureExpression(closure)
    }
}
